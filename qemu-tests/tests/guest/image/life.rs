//! One appliance on one disk, from its first boot to the day when the agent is removed: what follows is told in its order, and each
//! part begins with the guest `ready`.

use super::{DOCUMENT, SERVICES, booted, machine, page, secrets, services};
use crate::appliance::{soon, stage};
use crate::drives::change_beside_udev;
use anyhow::{Context, Result};
use qemu_tests::{Bench, Report, Vm};
use serde_json::json;

/// The file that nginx alone reads.
const NGINX: &str = "/etc/nginx/conf.d/petstore.conf";
/// The page that nobody has to be told of.
const PAGE: &str = "/var/www/petstore/index.html";

/// Every file that the agent has written, when and as which.
const WRITTEN: &str = "stat -c '%n %i %y %z' /etc/hostname /etc/hosts /etc/resolv.conf /etc/petstore/password \
    /etc/systemd/network/10-petstore.network /etc/nginx/conf.d/petstore.conf /var/www/petstore/index.html \
    /etc/postgresql/15/main/conf.d/petstore.conf /etc/postgresql/15/main/pg_hba.conf";

pub(super) fn life(bench: &Bench<'_>) -> Result<()> {
    let disk = bench.appliance_disk("appliance")?;
    let mut vm = booted(bench, &machine(bench, DOCUMENT)?, &disk)?;
    let mut told = Told(bench, 0);
    configured_before_services(&mut vm)?;
    told.of("first boot", &mut vm)?;

    let swapped = DOCUMENT.replace("Cats &amp; dogs", "Cats").replace("\"8\"", "\"16\"");
    reloads_only_nginx(&mut vm, 2, "<h1>Cats</h1>", |vm| {
        change_beside_udev(vm, "cd0", &bench.environment(&swapped)?).map(drop)
    })?;
    told.of("another disc", &mut vm)?;
    let sent = DOCUMENT.replace("Cats &amp; dogs", "Dogs").replace("\"8\"", "\"32\"");
    reloads_only_nginx(&mut vm, 3, "<h1>Dogs</h1>", |vm| send(vm, "1", &sent))?;
    // A password that is too short, in a document that is refused, is a secret nevertheless.
    vm.host.send(&json!({ "type": "environment", "id": "2", "document":
        DOCUMENT.replace(secrets::PASSWORD, secrets::REFUSED) }))?;
    assert_eq!(vm.host.answer("2", soon())?["error"]["code"], "ParametersInvalid");
    told.of("the channel", &mut vm)?;

    unit_failed(&mut vm)?;
    told.of("a unit that fails", &mut vm)?;
    agent_killed(&mut vm)?;
    told.of("an agent that is killed", &mut vm)?;
    upgraded(bench, &mut vm)?;
    told.of("an upgrade", &mut vm)?;
    rebooted(&mut vm, &sent)?;
    told.of("a reboot", &mut vm)?;
    secrets::not_told(&mut vm)?;
    told.of("the search for secrets", &mut vm)?;
    removed(&mut vm)?;
    told.of("a removal", &mut vm)
}

/// How much CPU each part has used in the guest, its boot included.
struct Told<'a, 'b>(&'a Bench<'b>, u64);

impl Told<'_, '_> {
    fn of(&mut self, part: &str, vm: &mut Vm) -> Result<()> {
        let used = "awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat";
        let now: u64 = vm.run(used)?.trim().parse().context("hundredths of a second")?;
        // A reboot has begun anew.
        let since = if now < self.1 { 0 } else { self.1 };
        self.0.measured(format!("{part} {:.1} s", (now - since) as f64 / 100.0));
        self.1 = now;
        Ok(())
    }
}

/// All of it was there before anybody read it: no service had to be told.
fn configured_before_services(vm: &mut Vm) -> Result<()> {
    assert_eq!(vm.run("uname -n; cat /etc/hostname")?, "shop1\nshop1\n");
    let addresses = vm.run("ip -4 -brief address show scope global; ip route show default")?;
    assert!(
        addresses.contains(" 10.0.2.15/24") && addresses.contains("default via 10.0.2.2 "),
        "{addresses}"
    );
    assert_eq!(vm.run("cat /etc/resolv.conf")?, "nameserver 10.0.2.3\n");
    assert!(page(vm)?.contains("<h1>Cats &amp; dogs</h1>"), "{}", page(vm)?);
    assert!(vm.run(&format!("cat {NGINX}"))?.contains("client_max_body_size 8m;"));
    let database = "runuser -u postgres -- psql --no-align --tuples-only \
        -c 'SHOW max_connections' -c \"SELECT address FROM pg_hba_file_rules WHERE 'replication' = ANY(database)\"";
    assert_eq!(vm.run(database)?, "77\n10.0.2.16\n");
    log_in(vm)?;

    let times = vm.run(&format!(
        "systemctl show --property ActiveEnterTimestampMonotonic --value ovf-agent
        for unit in {SERVICES}; do
            case $unit in dbus | systemd-logind | systemd-udevd) continue ;; esac
            systemctl show --property InactiveExitTimestampMonotonic --value $unit
        done"
    ))?;
    let times: Vec<u64> = times.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    assert!(times.len() == 5 && times[1..].iter().all(|time| *time > times[0]), "{times:?}");
    let odd =
        "journalctl --boot --grep 'ordering cycle|dev-sr0.device|Reloading|Reloaded' --output cat || true";
    assert_eq!(vm.run(odd)?, "", "no cycle, nobody waits for a drive, and nobody was told to read again");
    assert_eq!(vm.run("journalctl --boot -u 'ovf-agent*' -p warning --output cat")?, "");
    Ok(())
}

/// The role has the password that the platform has sent.
pub(super) fn log_in(vm: &mut Vm) -> Result<()> {
    // The password comes by a file of the appliance's own, and neither by an argument nor by this script.
    let said = vm.run(
        "PGPASSWORD=$(sed s/^password=// /etc/petstore/password) \
        psql -h 127.0.0.1 -U petstore -d petstore --no-align --tuples-only -c 'SELECT current_user'",
    )?;
    assert_eq!(said, "petstore\n");
    Ok(())
}

fn send(vm: &mut Vm, id: &str, document: &str) -> Result<()> {
    vm.host.send(&json!({ "type": "environment", "id": id, "document": document }))?;
    let answer = vm.host.answer(id, soon())?;
    assert_eq!(answer["ok"], true, "{answer}");
    Ok(())
}

/// Another document comes that changes the page and nginx's configuration.
fn reloads_only_nginx(
    vm: &mut Vm,
    generation: u64,
    shown: &str,
    comes: impl FnOnce(&mut Vm) -> Result<()>,
) -> Result<()> {
    let workers = "cat /proc/$(systemctl show --property MainPID --value nginx)/task/*/children";
    let before = (services(vm)?, vm.run(workers)?);
    comes(vm)?;
    let report = vm.report(|it| it.generation == generation && it.stage == "ready", soon())?.report;
    assert_eq!(
        (report.changed.as_slice(), report.failure.is_none()),
        (&[NGINX.into(), PAGE.into()][..], true)
    );
    assert!(page(vm)?.contains(shown), "{}", page(vm)?);
    assert_eq!(services(vm)?, before.0, "nobody was restarted, and nginx neither");
    // Old workers end when they have nothing to do, and so at their own time.
    vm.run(&format!(
        "old=$(echo {}); until [ \"$(echo $({workers}))\" != \"$old\" ]; do usleep 100000; done",
        before.1.replace('\n', " ")
    ))?;
    Ok(())
}

fn unit_failed(vm: &mut Vm) -> Result<()> {
    vm.run("systemctl kill --signal KILL nginx")?;
    let degraded = vm.report(stage("degraded"), soon())?.report;
    let gate = degraded.unmet.iter().find(|it| it.gate == "unit nginx.service").context("the unit's name")?;
    assert_eq!(gate.code, "UnitFailed", "{degraded}");
    let shown = "script -qec 'agetty --show-issue' /dev/null < /dev/null | grep ovf-agent";
    let said = vm.run(&format!("until {shown}; do usleep 100000; done"))?;
    assert!(said.starts_with("ovf-agent: degraded: unit nginx.service: "), "above the login prompt: {said}");
    vm.run("systemctl start nginx")?;
    vm.report(stage("ready"), soon())?;
    // It goes on to say that the last document was refused.
    vm.run(&format!("while {shown} | grep degraded; do usleep 100000; done"))?;

    // The database's own service goes and comes with its server.
    vm.run("systemctl stop postgresql@15-main")?;
    vm.report(stage("degraded"), soon())?;
    vm.run("systemctl start postgresql@15-main")?;
    vm.report(stage("ready"), soon())?;
    Ok(())
}

fn other(session: &str) -> impl Fn(&Report) -> bool + '_ {
    move |report| report.stage == "ready" && report.session != session
}

fn agent_killed(vm: &mut Vm) -> Result<()> {
    let before = services(vm)?;
    vm.host.skip();
    vm.run("systemctl kill --signal KILL ovf-agent")?;
    let died = vm.report(stage("failed"), soon())?.report;
    let failure = died.failure.as_ref().context("a reason")?;
    assert_eq!((failure.code.as_str(), failure.r#final), ("AgentDied", false), "{died}");
    let again = vm.report(other(&died.session), soon())?.report;
    assert_eq!((again.generation, again.changed.len()), (3, 0), "nothing had to be done: {again}");
    assert_eq!(services(vm)?, before);
    Ok(())
}

fn upgraded(bench: &Bench<'_>, vm: &mut Vm) -> Result<()> {
    vm.put(&bench.appliance_upgrade()?)?;
    let before = (services(vm)?, vm.run(WRITTEN)?);
    let session = vm.host.reports().last().context("it was ready")?.report.session.clone();
    vm.host.skip();
    vm.run("dpkg --install /run/upgrade.deb")?;
    let after = vm.report(|it| it.stage == "failed" || other(&session)(it), soon())?.report;
    assert_eq!((after.stage.as_str(), after.generation), ("ready", 3), "{after}");
    assert!(vm.run("dpkg-query --show ovf-agent")?.ends_with("+upgrade1\n"));
    let program = vm.run("readlink /proc/$(systemctl show --property MainPID --value ovf-agent)/exe")?;
    assert_eq!(program, "/usr/bin/ovf-agent\n", "it is not the old one, whose file is gone");
    assert_eq!((services(vm)?, vm.run(WRITTEN)?), before);
    assert_eq!(vm.run("systemctl is-system-running; systemctl --failed --quiet")?, "running\n");
    Ok(())
}

/// The disc has an older document than the channel has sent.
fn rebooted(vm: &mut Vm, sent: &str) -> Result<()> {
    let before = vm.run(WRITTEN)?;
    let boot = vm.host.reports().last().context("it was ready")?.report.boot.clone();
    vm.run("systemctl reboot")?;
    let report = vm.report(|it| it.stage == "ready" && it.boot != boot, soon() * 3)?.report;
    vm.booted()?;
    let said = |report: &Report| (report.source.clone(), report.generation, report.changed.len());
    assert_eq!((report.stale, said(&report)), (true, ("channel".into(), 3, 0)), "{}", report.line);
    assert_eq!(vm.run(WRITTEN)?, before, "nothing was written");
    // What docs/protocol.md asks of a host then.
    send(vm, "3", sent)?;
    let report = vm.host.reports().last().context("it was just said")?.report.clone();
    assert_eq!((report.stale, said(&report)), (false, ("channel".into(), 3, 0)), "{}", report.line);
    assert_eq!(vm.run(WRITTEN)?, before, "nothing was written");
    assert!(page(vm)?.contains("<h1>Dogs</h1>"));
    log_in(vm)
}

fn removed(vm: &mut Vm) -> Result<()> {
    let before = (services(vm)?, vm.run(WRITTEN)?);
    vm.run("dpkg --remove ovf-agent 2>&1")?;
    vm.run("[ ! -e /usr/bin/ovf-agent ]; [ -e /var/lib/ovf-agent/state.json ]")?;
    vm.run("dpkg --purge ovf-agent 2>&1")?;
    let left = vm.run(
        "pidof ovf-agent
        systemctl list-units --all --state=loaded --quiet --no-legend 'ovf-agent*'
        systemctl list-unit-files --quiet --no-legend 'ovf-agent*'
        find /etc /usr/bin /usr/lib /usr/share /var -name '*ovf-agent*'
        ls -A /run | grep ovf-agent; true",
    )?;
    assert_eq!(left, "/etc/issue.d/50-ovf-agent.issue\n/usr/lib/ovf-agent\n", "the appliance's own");
    assert_eq!((services(vm)?, vm.run(WRITTEN)?), before);
    assert_eq!(vm.run("systemctl is-system-running; systemctl --failed --quiet")?, "running\n");
    assert!(page(vm)?.contains("<h1>Dogs</h1>"));
    Ok(())
}
