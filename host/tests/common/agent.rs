//! The agent of this tree: what `OVF_AGENT` names, else built first. Cargo builds the binaries of the package that is tested, and this is
//! another one's; `tests/run` has it built already, with the whole workspace.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

pub(crate) fn agent() -> &'static str {
    static AGENT: OnceLock<String> = OnceLock::new();
    AGENT.get_or_init(|| {
        if let Some(path) = std::env::var_os("OVF_AGENT") {
            return path.into_string().expect("UTF-8");
        }
        let host = Path::new(env!("CARGO_BIN_EXE_ovf-host"));
        let profile = host.parent().expect("a directory");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "ovf-agent", "--bin", "ovf-agent"]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success(), "the agent is built");
        profile.join("ovf-agent").to_str().expect("UTF-8").to_owned()
    })
}
