//! The disk that a deployed guest boots from: one of `qemu-tests/guest`, with the agent in it.

use crate::docs::top;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Makes the disk of the guest of this name, with the modules of its drivers; `programs` are those that it has beside the agent. What is
/// on it is left in `tree`.
pub(crate) fn make(
    guest: &str,
    (agent, programs): (&Path, &[&str]),
    modules: &[&str],
    tree: &Path,
    image: &Path,
) -> Result<()> {
    let guest = top().join("qemu-tests/guest").join(guest);
    let mut files = vec![
        (guest.join("init"), "init".to_owned()),
        (agent.to_owned(), "bin/ovf-agent".to_owned()),
        (guest.join("agent/agent.toml"), "etc/ovf-agent/agent.toml".to_owned()),
        (guest.join("agent/templates/word.tera"), "etc/ovf-agent/templates/word.tera".to_owned()),
    ];
    files.extend(programs.iter().map(|it| (guest.join(it), format!("bin/{it}"))));
    for (from, to) in files {
        let to = tree.join(to);
        fs::create_dir_all(to.parent().context("it is below the tree")?)?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let mut command = Command::new(top().join("qemu-tests/guest-disk"));
    command.arg(tree).arg("-o").arg(image).args(modules.iter().flat_map(|it| ["-m", it]));
    let output = command.output()?;
    ensure!(output.status.success(), "guest-disk: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
