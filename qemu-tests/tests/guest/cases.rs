//! Many small cases in one guest: each has a root of its own, so none can disturb another.
//!
//! Everything goes in as one archive, one script runs `ovf-agent apply` for each, and everything comes back
//! as one tree. A case costs a few milliseconds; a further one is a further line in the table.

use crate::Test;
use crate::appliance::DOCUMENT;
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Files, Tree};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] =
    &[("apply: each case does what it says, and twice the same", cases)];

/// What an appliance is given, and what must come of it.
struct Case {
    name: &'static str,
    parameters: &'static str,
    template: &'static str,
    /// The only output's content, or else the exit status and a part of the message.
    expected: Result<&'static str, (i32, &'static str)>,
}

const CASES: &[Case] = &[
    Case {
        name: "a value is written as it is sent",
        parameters: "ip = { key = \"com.mydb.db.ip\", type = \"ipv4\" }",
        template: "path = \"/etc/out\"\nescape = \"ini\"\n+++\nip={{ ip }}\n",
        expected: Ok("ip=10.20.132.102\n"),
    },
    Case {
        name: "a sibling's value is written",
        parameters: "peer = { entity = \"DB2\", key = \"com.mydb.db.ip\", type = \"ipv4\" }",
        template: "path = \"/etc/out\"\nescape = \"ini\"\n+++\npeer={{ peer }}\n",
        expected: Ok("peer=10.20.132.103\n"),
    },
    Case {
        name: "a default stands in for what is not sent",
        parameters: "size = { key = \"no.such.key\", type = \"int\", default = 7 }",
        template: "path = \"/etc/out\"\nescape = \"ini\"\n+++\nsize={{ size }}\n",
        expected: Ok("size=7\n"),
    },
    Case {
        name: "a shell word is quoted",
        parameters: "log = { key = \"com.mydb.db.log\", type = \"string\" }",
        template: "path = \"/etc/out\"\nescape = \"shell\"\n+++\nLOG={{ log }}\n",
        expected: Ok("LOG='warning'\n"),
    },
    Case {
        name: "a required value that is not sent is refused",
        parameters: "port = { key = \"no.such.key\", type = \"int\", required = true }",
        template: "path = \"/etc/out\"\nescape = \"ini\"\n+++\nport={{ port }}\n",
        expected: Err((78, "no.such.key")),
    },
    Case {
        name: "a value of the wrong type is refused",
        parameters: "log = { key = \"com.mydb.db.log\", type = \"int\" }",
        template: "path = \"/etc/out\"\nescape = \"ini\"\n+++\nlog={{ log }}\n",
        expected: Err((78, "com.mydb.db.log")),
    },
    Case {
        name: "a name that is not declared is refused",
        parameters: "",
        template: "path = \"/etc/out\"\nescape = \"ini\"\n+++\n{{ nobody }}\n",
        expected: Err((78, "nobody")),
    },
    Case {
        name: "a template without a path is refused",
        parameters: "",
        template: "mode = \"0644\"\nescape = \"ini\"\n+++\n",
        expected: Err((78, "path")),
    },
    Case {
        name: "a target without its directory is refused",
        parameters: "",
        template: "path = \"/etc/nowhere/out\"\nescape = \"ini\"\n+++\n",
        expected: Err((1, "/etc/nowhere")),
    },
];

/// Runs every case twice; the second pass must change nothing.
const RUN: &str = r#"
    cd /cases
    for case in *; do
        ovf-agent apply --root "/cases/$case" --source iso:/dev/sr0 > "$case/first" 2>&1
        echo $? > "$case/status"
        find "$case/etc" -exec touch -d @1000 {} +
        ovf-agent apply --root "/cases/$case" --source iso:/dev/sr0 > "$case/second" 2>&1
    done
    true
"#;

fn cases(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(Some(&bench.environment(DOCUMENT)?), Connect::Later)?;
    let mut files = Files::new();
    for (number, case) in CASES.iter().enumerate() {
        let directory = format!("/cases/{number}/etc/ovf-agent");
        files = files
            .with(&format!("{directory}/agent.toml"), format!("[parameters]\n{}\n", case.parameters))
            .with(&format!("{directory}/templates/out.tera"), format!("+++\n{}", case.template));
    }
    vm.put(&files)?;
    vm.run(RUN)?;
    let tree = vm.tree("/cases")?;
    let failures: Vec<String> = (0..)
        .zip(CASES)
        .filter_map(|(number, case)| judge(&tree, number, case).err())
        .map(|error| format!("{error:#}"))
        .collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), CASES.len(), failures.join("\n"));
    Ok(())
}

fn judge(tree: &Tree, number: usize, case: &Case) -> Result<()> {
    let text = |name: &str| {
        let bytes = tree.get(&format!("{number}/{name}")).and_then(|file| file.bytes.as_deref());
        bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let status: i32 = text("status").unwrap_or_default().trim().parse().context("no status")?;
    let output = text("first").unwrap_or_default();
    let complain = |what: String| anyhow::anyhow!("{}: {what}\n{output}", case.name);
    match case.expected {
        Ok(content) => {
            if status != 0 || text("etc/out").as_deref() != Some(content) {
                return Err(complain(format!("status {status}, content {:?}", text("etc/out"))));
            }
            let late: Vec<&String> = tree
                .iter()
                .filter(|(path, file)| path.starts_with(&format!("{number}/etc")) && file.mtime != 1000)
                .map(|(path, _)| path)
                .collect();
            if !late.is_empty() {
                return Err(complain(format!("the second pass changed {late:?}")));
            }
        }
        Err((expected, message)) => {
            if status != expected || !output.contains(message) || text("etc/out").is_some() {
                return Err(complain(format!(
                    "status {status} instead of {expected}, or no word of {message:?}"
                )));
            }
        }
    }
    Ok(())
}
