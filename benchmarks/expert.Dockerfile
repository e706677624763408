# What an expert writes by hand for the example of bench_dockerfile.py, without packager: the same base and lock, uv,
# hashes, bytecode, cache mounts, COPY --link. BASE and CACHE are the benchmark's.
ARG BASE
FROM ${BASE} AS environment
ARG CACHE
RUN --mount=type=bind,source=uv.txt,target=/tmp/uv.txt \
    --mount=type=cache,id=${CACHE}-pip,target=/root/.cache/pip \
    --mount=type=secret,id=ca,target=/run/ca.pem \
    python3 -m venv /tmp/uv \
 && if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi \
 && /tmp/uv/bin/pip --disable-pip-version-check install --quiet --require-hashes --no-deps --requirement /tmp/uv.txt
RUN --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \
    --mount=type=cache,id=${CACHE}-uv,target=/root/.cache/uv \
    --mount=type=secret,id=ca,target=/run/ca.pem \
    export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt UV_LINK_MODE=copy \
 && if [ -s /run/ca.pem ]; then export SSL_CERT_FILE=/run/ca.pem; fi \
 && python3 -m venv --without-pip /opt/env \
 && /tmp/uv/bin/uv pip install --quiet --python /opt/env/bin/python --require-hashes --no-deps --compile-bytecode \
    --requirement /tmp/requirements.txt

FROM ${BASE}
COPY --link --from=environment /opt/env /opt/env
COPY --link models /var/azureml-app/azureml-models/sklearn_regression_model/1
COPY --link src /var/azureml-app
ENV AZUREML_MODEL_DIR=/var/azureml-app/azureml-models/sklearn_regression_model/1 AML_APP_ROOT=/var/azureml-app HOME=/tmp
WORKDIR /var/azureml-app
USER 1000:1000
EXPOSE 5001
ENTRYPOINT ["/opt/env/bin/azmlinfsrv", "--entry_script=/var/azureml-app/score.py"]
