#!/bin/sh
# QEMU, but at each port is whoever plays the guest; and the drive of `b` has another name where there is a file `no-drive` beside this.
for word; do
    shift
    case $word in
    socket,id=port,*) word=$(echo "$word" | sed 's/[.]port,/.none,/') ;;
    ide-cd,*) case $* in *guest=shop/b*) [ ! -e ../../no-drive ] || word=$(echo "$word" | sed 's/id=/&not-/') ;; esac ;;
    esac
    set -- "$@" "$word"
done
# Whoever starts `b` is interrupted meanwhile where there is a file `interrupt` with the id of its process.
case $* in *guest=shop/b*) [ ! -e ../../interrupt ] || kill -INT "$(cat ../../interrupt)" ;; esac
exec qemu-system-x86_64 "$@"
