"""Which Debian package brings a library: of those that manylinux (PEP 600) leaves to the system, and others."""

from __future__ import annotations

from collections.abc import Mapping

#: Library → package, by the names that bookworm and trixie both install. Trixie calls some of them `…t64`, and these
#: say that they provide the old name; bookworm does not know the new one.
DEBIAN_PACKAGES: Mapping[str, str] = {
    "libatomic.so.1": "libatomic1",
    "libblas.so.3": "libblas3",
    "libbz2.so.1.0": "libbz2-1.0",
    "libc.so.6": "libc6",
    "libcurl.so.4": "libcurl4",
    "libEGL.so.1": "libegl1",
    "libexpat.so.1": "libexpat1",
    "libffi.so.8": "libffi8",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libgcc_s.so.1": "libgcc-s1",
    "libgdk_pixbuf-2.0.so.0": "libgdk-pixbuf-2.0-0",
    "libgfortran.so.5": "libgfortran5",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libhdf5.so.310": "libhdf5-310",
    "libICE.so.6": "libice6",
    "liblapack.so.3": "liblapack3",
    "liblzma.so.5": "liblzma5",
    "libnuma.so.1": "libnuma1",
    "libodbc.so.2": "libodbc2",
    "libopenblas.so.0": "libopenblas0",
    "libOpenCL.so.1": "ocl-icd-libopencl1",
    "libpng16.so.16": "libpng16-16",
    "libpq.so.5": "libpq5",
    "libquadmath.so.0": "libquadmath0",
    "libSM.so.6": "libsm6",
    "libsndfile.so.1": "libsndfile1",
    "libsqlite3.so.0": "libsqlite3-0",
    "libssl.so.3": "libssl3",
    "libstdc++.so.6": "libstdc++6",
    "libtbb.so.12": "libtbb12",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libxcb.so.1": "libxcb1",
    "libxml2.so.2": "libxml2",
    "libz.so.1": "zlib1g",
}
