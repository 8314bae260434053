# selftest.sh ROOT VERSION: try a version that is there.
cd "$1/versions/$2" && exec sh ./run --self-test 2>&1 </dev/null
