#!/bin/sh
# Prints the version of the TensorRT library under a folder (default: /), as its file name says it: 10.13.3. A plan loads
# only in the TensorRT that built it, so the image build compares what its two bases hold.
set -eu
root=${1:-/}
versions=$(find "$root" -path /proc -prune -o -name 'libnvinfer.so.*.*.*' -print 2>/dev/null \
    | sed 's/.*libnvinfer\.so\.//' | sort -u)
case $(echo "$versions" | grep -c .) in
    1) echo "$versions" ;;
    0) echo "no libnvinfer.so.x.y.z under $root: this base has no TensorRT" >&2; exit 1 ;;
    *) echo "expected one TensorRT under $root, found:" $versions >&2; exit 1 ;;
esac
