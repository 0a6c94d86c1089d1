//! The appliance that the trials configure, and what they say about it again and again.
//!
//! A small database: one address that it must be given, two settings with defaults, one sibling. Trials
//! that need something else say so where they need it.

use anyhow::{Context, Result};
use qemu_tests::{Files, Job, Report, Vm};
use std::time::Duration;

/// The parameters of the appliance; `ip` is required.
pub(crate) const PARAMETERS: &str = r#"
[parameters]
ip      = { key = "com.mydb.db.ip", type = "ipv4", required = true }
log     = { key = "com.mydb.db.log", type = "string", default = "normal" }
primary = { key = "com.mydb.db.primaryAtBoot", type = "bool", default = false }
peer    = { entity = "DB2", key = "com.mydb.db.ip", type = "ipv4" }
"#;

/// The same, but nothing is required.
pub(crate) const OPTIONAL_PARAMETERS: &str = r#"
[parameters]
ip      = { key = "com.mydb.db.ip", type = "ipv4", default = "127.0.0.1" }
log     = { key = "com.mydb.db.log", type = "string", default = "normal" }
primary = { key = "com.mydb.db.primaryAtBoot", type = "bool", default = false }
peer    = { entity = "DB2", key = "com.mydb.db.ip", type = "ipv4" }
"#;

/// A gate that the trial opens by making a file.
pub(crate) const GATE: &str = "[ready]\nfiles = [\"/run/mydb.ready\"]\n";

const SETTINGS: &str = r#"+++
path   = "/etc/mydb/mydb.conf"
mode   = "0640"
owner  = "root"
group  = "mydb"
escape = "ini"
+++
listen = {{ ip }}
log = {{ log }}
primary = {{ primary }}
"#;

const PEERS: &str = r#"+++
path   = "/etc/mydb/peers"
mode   = "0644"
escape = "none"
+++
{% if peer %}{{ peer }}{% else %}alone{% endif %}
"#;

/// The document that platforms would put on the disc.
pub(crate) const DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
    xmlns:oe="http://schemas.dmtf.org/ovf/environment/1" oe:id="DB1">
  <PropertySection>
    <Property oe:key="com.mydb.db.ip" oe:value="10.20.132.102"/>
    <Property oe:key="com.mydb.db.log" oe:value="warning"/>
    <Property oe:key="com.mydb.db.primaryAtBoot" oe:value="yes"/>
  </PropertySection>
  <Entity oe:id="DB2">
    <PropertySection>
      <Property oe:key="com.mydb.db.ip" oe:value="10.20.132.103"/>
    </PropertySection>
  </Entity>
</Environment>
"#;

/// What the settings are with [`DOCUMENT`], and with nothing.
pub(crate) const CONFIGURED: &str = "listen = 10.20.132.102\nlog = warning\nprimary = true\n";
pub(crate) const DEFAULTS: &str = "listen = 127.0.0.1\nlog = normal\nprimary = false\n";

/// The appliance with this `agent.toml`, as it is baked into an image.
pub(crate) fn appliance(configuration: &str) -> Files {
    Files::new()
        .with("/etc/ovf-agent/agent.toml", configuration)
        .with("/etc/ovf-agent/templates/settings.tera", SETTINGS)
        .with("/etc/ovf-agent/templates/peers.tera", PEERS)
        .with_directory("/etc/mydb")
}

/// Far longer than anything takes, also a boot on a loaded machine: a trial that waits this long has failed.
pub(crate) fn soon() -> Duration {
    Duration::from_secs(180)
}

/// Starts the agent, its log on the console.
pub(crate) fn start_agent(vm: &mut Vm) -> Result<Job> {
    vm.spawn("exec ovf-agent run > /dev/kmsg 2>&1")
}

/// Has the agent read configuration and document again: the process itself, and no child that looks at a drive for it meanwhile.
pub(crate) fn hang_up(vm: &mut Vm) -> Result<()> {
    vm.run("kill -HUP $(pidof ovf-agent | tr ' ' '\n' | sort -n | head -n 1)").map(drop)
}

/// Whether a report says this stage.
pub(crate) fn stage(stage: &str) -> impl Fn(&Report) -> bool + '_ {
    move |report| report.stage == stage
}

/// The text of a file in the guest.
pub(crate) fn text(vm: &mut Vm, path: &str) -> Result<String> {
    String::from_utf8(vm.get(path)?).with_context(|| format!("{path} in the guest is no text"))
}

/// What a process did during some seconds of the guest's time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Activity {
    /// How often one of its threads was scheduled.
    pub(crate) switches: u64,
    /// How much CPU it used, in hundredths of a second.
    pub(crate) ticks: u64,
}

/// Watches a process for `seconds` of the guest's time.
pub(crate) fn activity(vm: &mut Vm, job: &Job, seconds: u32) -> Result<Activity> {
    let pid = job.pid;
    let counts = vm.run(&format!(
        "count() {{
            awk '/ctxt_switches/ {{ n += $2 }} END {{ print n }}' /proc/{pid}/task/*/status
            awk '{{ print $14 + $15 }}' /proc/{pid}/stat
        }}
        count && sleep {seconds} && count"
    ))?;
    let counts: Vec<u64> = counts.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let &[switches, ticks, switches_after, ticks_after] = counts.as_slice() else {
        anyhow::bail!("expected four numbers from /proc, got {counts:?}");
    };
    Ok(Activity { switches: switches_after - switches, ticks: ticks_after - ticks })
}
