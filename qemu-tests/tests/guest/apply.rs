//! Targets that cannot be written, and some that can against all appearance: what a pass says about each, and that it is
//! all or nothing. One guest for all; each case puts something in the way, and takes it out again.

use crate::Test;
use crate::appliance::{CONFIGURED, DOCUMENT, PARAMETERS, appliance, text};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Connect, Files, Vm};
use std::process::Command;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] =
    &[("apply: a target that cannot be written leaves all others as they are, and says what to do", targets)];

struct Case {
    name: &'static str,
    /// The path of the third template, and what else its front matter says.
    path: &'static str,
    rules: &'static str,
    /// Puts something in the way.
    before: &'static str,
    /// All of these are said, or the pass is done.
    said: &'static [&'static str],
    /// Must hold afterwards, with the obstacle still there.
    holds: &'static str,
    /// Takes it out of the way.
    after: &'static str,
}

/// `T` is the directory of the third target.
const CASES: &[Case] = &[
    Case {
        name: "a symbolic link",
        path: "/srv/t/f",
        rules: "",
        before: "ln -s /etc/passwd $T/f",
        said: &[
            "templates/third.tera",
            "/srv/t/f",
            "it is a symbolic link, not a regular file",
            "name the file itself",
        ],
        holds: "[ -L $T/f ]",
        after: "rm $T/f",
    },
    Case {
        name: "a directory",
        path: "/srv/t/f",
        rules: "",
        before: "mkdir $T/f",
        said: &["templates/third.tera", "/srv/t/f", "it is not a regular file"],
        holds: "[ -d $T/f ]",
        after: "rmdir $T/f",
    },
    Case {
        name: "a directory that is not there",
        path: "/srv/none/f",
        rules: "",
        before: "true",
        said: &["templates/third.tera", "/srv/none", "create the directory in the image"],
        holds: "[ ! -e /srv/none ]",
        after: "mkdir /srv/none",
    },
    Case {
        name: "a ~/.ssh that its user has swapped for a link",
        path: "/srv/t/home/.ssh/authorized_keys",
        rules: "owner = \"mydb\"",
        before: "mkdir $T/home && ln -s /root $T/home/.ssh && chown -h mydb $T/home $T/home/.ssh",
        said: &["templates/third.tera", "`.ssh` is a symbolic link in a directory that others may change"],
        holds: "[ ! -e /root/authorized_keys ]",
        after: "rm $T/home/.ssh && mkdir -m 700 $T/home/.ssh && chown mydb $T/home/.ssh",
    },
    Case {
        name: "a directory of another user",
        path: "/srv/t/home/.ssh/authorized_keys",
        rules: "owner = \"mydb\"\nmode = \"0600\"",
        before: "mkdir -p -m 700 $T/home/.ssh && chown mydb $T/home/.ssh",
        said: &[],
        holds: "[ $(stat -c %U:%a $T/home/.ssh/authorized_keys) = mydb:600 ]",
        after: "rm -r $T/home",
    },
    Case {
        name: "a file on which another is mounted",
        path: "/srv/t/f",
        rules: "",
        before: "echo theirs > $T/f && mount --bind /etc/hostname $T/f",
        said: &["/srv/t/f", "something is mounted on it: unmount that"],
        holds: "cmp -s $T/f /etc/hostname",
        after: "umount $T/f && [ $(cat $T/f) = theirs ]",
    },
    Case {
        name: "a file that is immutable",
        path: "/srv/t/disk/f",
        rules: "",
        before: "mkdir -p $T/disk && mount -o loop /root/ext4 $T/disk && echo theirs > $T/disk/f && flags $T/disk/f 16",
        said: &["/srv/t/disk/f", "chattr -i takes it away"],
        holds: "[ $(cat $T/disk/f) = theirs ]",
        after: "flags $T/disk/f 0",
    },
    Case {
        name: "a directory that is immutable",
        path: "/srv/t/disk/g",
        rules: "",
        before: "flags $T/disk 16",
        said: &["templates/third.tera", "/srv/t/disk/g", "chattr -i takes it away"],
        holds: "[ ! -e $T/disk/g ]",
        after: "flags $T/disk 0",
    },
    Case {
        name: "a file system mounted for reading",
        path: "/srv/t/disk/h",
        rules: "",
        before: "mount -o remount,ro $T/disk",
        said: &["templates/third.tera", "/srv/t/disk/h", "mount the file system for writing"],
        holds: "[ ! -e $T/disk/h ]",
        after: "mount -o remount,rw $T/disk",
    },
    Case {
        name: "a file system that is full",
        path: "/srv/t/full/f",
        rules: "",
        before: "mkdir $T/full && mount -t tmpfs -o size=16k,nr_inodes=9 none $T/full && dd if=/dev/zero of=$T/full/x 2>&- || true",
        said: &["templates/third.tera", "/srv/t/full/f", "make room on the file system"],
        holds: "[ $(ls -A $T/full) = x ]",
        after: "rm $T/full/x",
    },
    Case {
        name: "a state directory that is full",
        path: "/srv/t/f",
        rules: "",
        before: "echo theirs > $T/f && mount -t tmpfs -o size=16k none /var/lib/ovf-agent && dd if=/dev/zero of=/var/lib/ovf-agent/x 2>&- || true",
        said: &["/var/lib/ovf-agent", "make room on the file system"],
        holds: "[ $(cat $T/f) = theirs ]",
        after: "umount /var/lib/ovf-agent",
    },
    Case {
        name: "a user that is not there",
        path: "/srv/t/f",
        rules: "owner = \"nobody-here\"",
        before: "true",
        said: &["templates/third.tera", "there is no user `nobody-here`; add it to the image"],
        holds: "true",
        after: "echo nobody-here:x:4711:4711:::/bin/false >> /etc/passwd",
    },
    Case {
        name: "a group that is not there",
        path: "/srv/t/f",
        rules: "group = \"nobody-here\"",
        before: "true",
        said: &["templates/third.tera", "there is no group `nobody-here`; add it to the image"],
        holds: "true",
        after: "echo nobody-here:x:4711: >> /etc/group",
    },
    Case {
        name: "a hard link to a file of somebody else",
        path: "/srv/t/linked",
        rules: "",
        before: "echo theirs > $T/other && ln $T/other $T/linked",
        said: &[],
        holds: "[ $(cat $T/other) = theirs ] && [ $(stat -c %h $T/linked) = 1 ]",
        after: "true",
    },
];

/// What the third file is to be.
const THIRD: &str = "third 10.20.132.102\n";

fn targets(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.debian(Some(&bench.environment(DOCUMENT)?), Connect::Later)?;
    let flags = "#!/usr/bin/perl\nopen F, '<', $ARGV[0] or die; ioctl F, 0x40086602, pack('L!', $ARGV[1]) or die $!;\n";
    vm.put(
        &appliance(PARAMETERS)
            .with("/root/ext4", ext4()?)
            .with_program("/usr/bin/flags", flags)
            .with_directory("/srv/t"),
    )?;
    vm.run("ovf-agent apply")?;
    for case in CASES {
        check(&mut vm, case).with_context(|| format!("where the target is {}", case.name))?;
    }
    Ok(())
}

fn check(vm: &mut Vm, case: &Case) -> Result<()> {
    let Case { path, rules, before, said, holds, after, .. } = case;
    let template = format!("+++\npath = \"{path}\"\n{rules}\n+++\nthird {{{{ ip }}}}\n");
    vm.put(&Files::new().with("/etc/ovf-agent/templates/third.tera", template))?;
    // All three are to change, so that there is something to be left as it is.
    vm.run("rm -f /srv/t/f; echo old | tee /etc/mydb/mydb.conf > /etc/mydb/peers")?;
    vm.run(&format!("T=/srv/t; {before}"))?;
    let pass = "status=0; ovf-agent apply --log error 2>&1 || status=$?; echo $status";
    let output = vm.run(pass)?;
    let (message, status) = output.trim_end().rsplit_once('\n').unwrap_or(("", output.trim_end()));
    for part in *said {
        ensure!(message.contains(part), "not said: {part}\n{message}");
    }
    ensure!(status == if said.is_empty() { "0" } else { "1" }, "exit status {status}\n{message}");
    vm.run(&format!("T=/srv/t; {holds}"))?;
    let left = vm.run("find / -xdev -name '.#ovf-agent*'; find /srv -name '.#ovf-agent*'; ls -A /var/lib/ovf-agent | grep journal || true")?;
    ensure!(left.is_empty(), "left behind: {left}");
    if !said.is_empty() {
        ensure!(
            text(vm, "/etc/mydb/mydb.conf")? == "old\n" && text(vm, "/etc/mydb/peers")? == "old\n",
            "not nothing"
        );
    }
    vm.run(&format!("T=/srv/t; {after}"))?;
    if !said.is_empty() {
        vm.run("ovf-agent apply")?;
        ensure!(text(vm, path)? == THIRD, "the target is written once nothing is in the way");
    }
    ensure!(text(vm, "/etc/mydb/mydb.conf")? == CONFIGURED, "and with it the others");
    Ok(())
}

/// An empty file system that knows immutable files, and exchanges.
pub(crate) fn ext4() -> Result<Vec<u8>> {
    let image = tempfile::NamedTempFile::new()?;
    image.as_file().set_len(2 << 20)?;
    let output =
        Command::new("/sbin/mkfs.ext4").args(["-q", "-O", "^has_journal"]).arg(image.path()).output();
    let output = output.context("cannot run /sbin/mkfs.ext4 (Debian package e2fsprogs)")?;
    ensure!(output.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&output.stderr));
    Ok(std::fs::read(image.path())?)
}
