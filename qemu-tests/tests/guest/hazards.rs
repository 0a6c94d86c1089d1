//! What happens while a pass is under way, or between two versions of an image: directories that are swapped, checks that
//! hang, a root that cannot be written, templates that are gone. What lies in the way of a target before the pass begins
//! is tried in `apply`.

use crate::Test;
use crate::appliance::{soon, text};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Connect, Files, Job, Vm};
use serde_json::Value;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    (
        "hazards: a check that hangs is ended with all that it started, and the pass has changed nothing",
        |bench| hanging(bench.guest(None, Connect::Later)?),
    ),
    ("hazards: the same where systemd runs the check", |bench| hanging(bench.debian(None, Connect::Later)?)),
    ("hazards: who swaps files while a pass is under way leads no write elsewhere", swapped),
    ("hazards: on a root that cannot be written a pass fails, or has nothing to do", read_only_root),
    (
        "hazards: what an upgraded image has no template for is removed, but nothing that is somebody's",
        upgraded,
    ),
];

const CONFIGURATION: &str = "[parameters]\nword = { key = \"word\", type = \"string\", sensitive = true }\n";

fn document(word: &str) -> String {
    format!(
        r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:e="http://schemas.dmtf.org/ovf/environment/1">
        <PropertySection><Property e:key="word" e:value="{word}"/></PropertySection></Environment>"#
    )
}

/// A template of this path, with further rules.
fn template(path: &str, rules: &str) -> String {
    format!("+++\npath = \"{path}\"\nmode = \"0600\"\nescape = \"ini\"\n{rules}\n+++\nword={{{{ word }}}}\n")
}

/// An image with these templates, by their names.
fn image(templates: &[(&str, String)]) -> Files {
    let files = Files::new().with("/etc/ovf-agent/agent.toml", CONFIGURATION);
    templates.iter().fold(files, |files, (name, text)| {
        files.with(&format!("/etc/ovf-agent/templates/{name}.tera"), text.as_str())
    })
}

/// A pass with this word: its report, in which it is not.
fn apply(vm: &mut Vm, word: &str) -> Result<Value> {
    let pass = begin(vm, word)?;
    end(vm, &pass, word)
}

fn begin(vm: &mut Vm, word: &str) -> Result<Job> {
    vm.put(&Files::new().with("/run/env.xml", document(word)))?;
    vm.spawn("exec ovf-agent apply --json --source file:/run/env.xml --log debug > /run/pass.json 2> /run/pass.log")
}

fn end(vm: &mut Vm, pass: &Job, word: &str) -> Result<Value> {
    // One of these passes takes half a minute by itself.
    let status = vm.wait(pass, soon() * 3)?;
    let (log, report) = (text(vm, "/run/pass.log")?, text(vm, "/run/pass.json")?);
    ensure!(!log.contains(word), "a value is in the log: {log}");
    ensure!(!report.contains(word), "a value is in the report: {report}");
    let report: Value = serde_json::from_str(&report).with_context(|| log.clone())?;
    ensure!((status == 0) == report["failure"].is_null(), "exit status {status}: {report}");
    Ok(report)
}

/// The failure in a report: its part, its code and its message.
fn failure(report: &Value) -> (&str, &str, &str) {
    let of = |key: &str| report["failure"][key].as_str().unwrap_or_default();
    (of("stage"), of("code"), of("message"))
}

/// Nothing of a pass is left where it works.
fn assert_clean(vm: &mut Vm) -> Result<()> {
    let left = vm.run(
        "find / -xdev -name '.#ovf-agent*'; ls -A /var/lib/ovf-agent 2>/dev/null | grep journal || true",
    )?;
    ensure!(left.is_empty(), "left behind: {left}");
    Ok(())
}

fn hanging(mut vm: Vm) -> Result<()> {
    let hang = "#!/bin/sh\ncat \"$1\"\ncat \"$1\" >&2\nsleep 86399 &\nexec sleep 86399\n";
    let files = image(&[
        ("first", template("/etc/app/first", "")),
        ("second", template("/etc/app/second", "check = [\"/bin/hang\", \"{}\"]")),
    ]);
    vm.put(&files.with_program("/bin/hang", hang).with("/etc/app/first", "old\n"))?;
    let pass = begin(&mut vm, "hunter2")?;
    // By a pattern that does not find itself.
    let alive = "grep -l 8639[9] /proc/[0-9]*/cmdline 2>/dev/null | wc -l";
    vm.run(&format!("until [ $({alive}) = 2 ]; do usleep 100000; done"))?;
    let report = end(&mut vm, &pass, "hunter2")?;
    let (part, code, message) = failure(&report);
    ensure!((part, code) == ("check", "CheckFailed"), "{report}");
    let told = "check of templates/second.tera: /bin/hang did not end within 30 s; what it said is in ";
    let (_, log) = message.split_once(told).with_context(|| report.to_string())?;
    ensure!(vm.run(&format!("stat -c '%a %u' {log}; cat {log}"))? == "600 0\nword=hunter2\nword=hunter2\n");
    ensure!(vm.run("cat /etc/app/first; ls /etc/app")? == "old\nfirst\n", "nothing was changed");
    ensure!(vm.run(alive)? == "0\n", "what it started is gone, too");
    assert_clean(&mut vm)
}

/// What somebody does in the middle of a pass, as a check can: `.ssh` and all that is in it are the user's. `$1` is the
/// staged file.
struct Swap {
    name: &'static str,
    act: &'static str,
    /// What the pass says of it; nothing where it is done.
    said: &'static str,
    /// Must hold afterwards.
    holds: &'static str,
}

const SWAPS: &[Swap] = &[
    Swap {
        name: "the directory, for a link to another's",
        act: "mv .ssh old && ln -s /srv/root .ssh",
        said: "",
        // Where it was when the pass began, wherever that is now.
        holds: "[ -z \"$(ls -A /srv/root)\" ] && grep -q word= old/authorized_keys",
    },
    Swap {
        name: "the target, for a link",
        act: "ln -s /srv/victim .ssh/authorized_keys",
        said: "what was written is taken back, but not /home/mydb/.ssh/authorized_keys (it was changed by hand meanwhile)",
        holds: "[ -L .ssh/authorized_keys ]",
    },
    Swap {
        name: "the staged file, for a link",
        act: "rm \"$1\" && ln -s /srv/victim \"$1\"",
        said: "nothing was changed: cannot write a new version of /home/mydb/.ssh/authorized_keys",
        holds: "[ ! -e .ssh/authorized_keys ]",
    },
    Swap {
        name: "the staged file, for another",
        act: "rm \"$1\" && echo evil > \"$1\"",
        said: "nothing was changed: cannot write a new version of /home/mydb/.ssh/authorized_keys",
        holds: "[ ! -e .ssh/authorized_keys ]",
    },
    Swap {
        name: "the staged file, for a FIFO, on which an open would wait",
        act: "rm \"$1\" && mkfifo \"$1\"",
        said: "nothing was changed: cannot write a new version of /home/mydb/.ssh/authorized_keys",
        holds: "[ ! -e .ssh/authorized_keys ]",
    },
];

fn swapped(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::Later)?;
    let rules = "owner = \"mydb\"\ncheck = [\"/bin/act\", \"{}\"]";
    let keys = template("/home/mydb/.ssh/authorized_keys", rules);
    let files = image(&[("first", template("/etc/app/first", "")), ("keys", keys)]);
    vm.put(&files.with_directory("/srv/root").with_directory("/etc/app"))?;
    for Swap { name, act, said, holds } in SWAPS {
        let about = || format!("where somebody swaps {name}");
        vm.run(
            "rm -rf /home/mydb; mkdir -p -m 755 /home/mydb/.ssh; chown -R mydb /home/mydb
            echo theirs > /srv/victim; echo old > /etc/app/first",
        )?;
        vm.put(&Files::new().with_program("/bin/act", format!("#!/bin/sh\ncd /home/mydb\n{act}\n")))?;
        let report = apply(&mut vm, "hunter2").with_context(about)?;
        ensure!(said.is_empty() == report["failure"].is_null(), "{}: {report}", about());
        ensure!(failure(&report).2.contains(said), "{}: {report}", about());
        let first = vm.run("cat /etc/app/first")?;
        ensure!(first == if said.is_empty() { "word=hunter2\n" } else { "old\n" }, "{}: {first}", about());
        vm.run(&format!("cd /home/mydb; {holds}")).with_context(about)?;
        let victim = vm.run("cat /srv/victim; stat -c %U:%a /srv/victim")?;
        ensure!(victim == "theirs\nroot:644\n", "{}: {victim}", about());
        assert_clean(&mut vm).with_context(about)?;
    }
    // The next pass sees the link, and says what is wrong.
    vm.run("rm -rf /home/mydb; mkdir -m 755 /home/mydb; ln -s /srv/root /home/mydb/.ssh; chown -h mydb /home/mydb /home/mydb/.ssh")?;
    let report = apply(&mut vm, "hunter2")?;
    ensure!(
        failure(&report).2.contains("`.ssh` is a symbolic link in a directory that others may change"),
        "{report}"
    );
    ensure!(vm.run("ls -A /srv/root")?.is_empty());
    Ok(())
}

fn read_only_root(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::Later)?;
    vm.put(&image(&[("app", template("/etc/app/conf", ""))]).with("/etc/app/conf", "old\n"))?;
    let state = "/var/lib/ovf-agent";
    // (how the machine is, what is said; nothing where the pass has nothing to do)
    for (machine, said) in [
        ("mount -o remount,ro /".to_owned(), state),
        (
            format!(
                "mount -o remount,rw /; mkdir -p {state}; mount -t tmpfs none {state}; mount -o remount,ro /"
            ),
            "templates/app.tera: cannot create a file beside /etc/app/conf",
        ),
        (format!("mount -o remount,rw /; mount -o remount,ro {state}"), state),
    ] {
        vm.run(&machine)?;
        let report = apply(&mut vm, "hunter2")?;
        let (part, code, message) = failure(&report);
        ensure!((part, code) == ("apply", "ApplyFailed"), "{machine}: {report}");
        ensure!(
            message.starts_with("nothing was changed: ") && message.contains(said),
            "{machine}: {report}"
        );
        ensure!(
            message.contains("mount the file system for writing before the agent runs"),
            "{machine}: {report}"
        );
        ensure!(vm.run("cat /etc/app/conf")? == "old\n");
        assert_clean(&mut vm)?;
    }
    vm.run(&format!("mount -o remount,rw {state}"))?;
    ensure!(apply(&mut vm, "hunter2")?["generation"] == 1);
    // A pass that has nothing to write needs no place to write.
    vm.run(&format!("mount -o remount,ro /; mount -o remount,ro {state}"))?;
    let report = apply(&mut vm, "hunter2")?;
    ensure!(report["stage"] == "ready" && report["generation"] == 1, "{report}");
    Ok(())
}

/// A file of the old image's templates, of which the new one has none.
struct Gone {
    path: &'static str,
    rules: &'static str,
    /// Before the old image's first pass.
    before: &'static str,
    /// Between the two.
    meanwhile: &'static str,
    /// What the plan says of it.
    said: &'static str,
    /// Must hold afterwards.
    holds: &'static str,
}

const GONE: &[Gone] = &[
    Gone {
        path: "/srv/app/plain",
        rules: "",
        before: "",
        meanwhile: "",
        said: "removed (its template is gone;",
        holds: "[ ! -e /srv/app/plain ]",
    },
    Gone {
        path: "/srv/app/edited",
        rules: "",
        before: "",
        meanwhile: "echo by hand >> /srv/app/edited",
        said: "kept (no template makes it now, but it was changed by hand;",
        holds: "grep -q 'by hand' /srv/app/edited",
    },
    Gone {
        path: "/srv/app/opened",
        rules: "",
        before: "",
        meanwhile: "chmod 0644 /srv/app/opened",
        said: "kept (no template makes it now, but it was changed by hand;",
        holds: "[ -e /srv/app/opened ]",
    },
    Gone {
        path: "/srv/app/theirs",
        rules: "",
        before: "echo theirs > /srv/app/theirs",
        meanwhile: "",
        said: "kept (no template makes it now, but it was there before;",
        holds: "[ -e /srv/app/theirs ]",
    },
    Gone {
        path: "/srv/app/linked",
        rules: "",
        before: "",
        meanwhile: "mv /srv/app/linked /srv/victim && ln -s /srv/victim /srv/app/linked",
        said: "kept (no template makes it now, but it cannot be looked at;",
        holds: "[ -L /srv/app/linked ] && [ -e /srv/victim ]",
    },
    Gone {
        path: "/srv/left/file",
        rules: "",
        before: "mkdir /srv/left",
        meanwhile: "rm -r /srv/left",
        said: "",
        holds: "true",
    },
    Gone {
        path: "/srv/home/.ssh/authorized_keys",
        rules: "owner = \"mydb\"",
        before: "mkdir -p /srv/home/.ssh && chown -R mydb /srv/home",
        meanwhile: "mv /srv/home/.ssh /srv/root && ln -s /srv/root /srv/home/.ssh && chown -h mydb /srv/home/.ssh",
        said: "kept (no template makes it now, but it cannot be looked at;",
        holds: "[ -e /srv/root/authorized_keys ]",
    },
];

fn upgraded(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::Later)?;
    let mut old =
        vec![("stays", template("/srv/app/stays", "")), ("mounted", template("/srv/app/mounted", ""))];
    let names: Vec<_> = GONE.iter().map(|gone| gone.path.trim_start_matches('/').replace('/', "-")).collect();
    old.extend(GONE.iter().zip(&names).map(|(gone, name)| (name.as_str(), template(gone.path, gone.rules))));
    vm.put(&image(&old).with_directory("/srv/app"))?;
    let each = |of: fn(&Gone) -> &str| GONE.iter().map(|gone| format!("{}\n", of(gone))).collect::<String>();
    vm.run(&each(|gone| gone.before))?;
    let report = apply(&mut vm, "hunter2")?;
    ensure!(report["failure"].is_null(), "{report}");
    vm.run(&each(|gone| gone.meanwhile))?;

    vm.run("rm /etc/ovf-agent/templates/*")?;
    vm.put(&image(&[("stays", template("/srv/app/stays", ""))]))?;
    let plan = vm.run("ovf-agent plan --source file:/run/env.xml")?;
    for Gone { path, said, .. } in GONE {
        let line = plan.lines().find(|line| line.starts_with(path)).unwrap_or_default();
        ensure!(line.is_empty() == said.is_empty() && line.contains(said), "{path}: {plan}");
    }

    // One that cannot be removed: then none is, and nothing else is written.
    vm.run("mount --bind /srv/app/mounted /srv/app/mounted")?;
    let report = apply(&mut vm, "hunter3")?;
    let (_, _, message) = failure(&report);
    ensure!(
        message.starts_with("nothing was changed: ") && message.contains("something is mounted on it"),
        "{report}"
    );
    let there = vm.run("cat /srv/app/stays /srv/app/plain")?;
    ensure!(there == "word=hunter2\nword=hunter2\n", "all is as it was: {there}");
    assert_clean(&mut vm)?;

    vm.run("umount /srv/app/mounted")?;
    let report = apply(&mut vm, "hunter3")?;
    let changed = serde_json::json!(["/srv/app/stays", "/srv/app/mounted", "/srv/app/plain"]);
    ensure!(report["changed"] == changed, "{report}");
    for Gone { path, holds, .. } in GONE {
        vm.run(holds).with_context(|| (*path).to_owned())?;
    }
    ensure!(vm.run("ls -A /srv/app")? == "edited\nlinked\nopened\nstays\ntheirs\n");
    assert_clean(&mut vm)?;
    let report = apply(&mut vm, "hunter3")?;
    ensure!(
        report["changed"] == serde_json::json!([]) && report["generation"] == 2,
        "and that is all: {report}"
    );
    Ok(())
}
