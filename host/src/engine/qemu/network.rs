//! What is between the guests: a hub for each network, in a QEMU process without a machine.
//!
//! Decides how guests are joined. A hub needs no root, no bridge and no address of this machine's, and whoever is not of the
//! deployment cannot reach it: its ends are sockets in the deployment's directory. Rejected: multicast on the loopback, which
//! every user of this machine hears; a bridge in a namespace of its own, which wants user namespaces.
//!
//! Where there is a subnet, this machine is its first address, and published ports lead from the loopback into it. Guests
//! reach nothing beyond.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::socket;
use crate::addresses::Subnet;
use crate::engine::Plan;

/// What is between the guests and this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The addresses of the guests.
    pub subnet: Option<Subnet>,
    /// Ports of this machine's loopback, and where in the subnet each leads.
    pub published: Vec<(u16, SocketAddrV4)>,
}

/// The hubs' monitor.
pub(super) const MONITOR: &str = "s/hub";
/// How the names begin of a hub's ends at a gate.
pub(super) const OUTSIDE: &str = "out";
pub(super) const INSIDE: &str = "in";

/// The hubs' process; none where no guest has a network card.
pub(super) fn arguments(plan: &Plan, network: &Network) -> Option<Vec<String>> {
    let networks: BTreeSet<_> =
        plan.guests.iter().flat_map(|it| &it.machine.cards).map(|it| it.network.as_str()).collect();
    if networks.is_empty() {
        return None;
    }
    let mut line: Vec<String> =
        ["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none"].map(str::to_owned).into();
    line.extend(["-sandbox".to_owned(), super::arguments::SANDBOX.to_owned()]);
    line.extend(super::arguments::monitors(MONITOR));
    for guest in &plan.guests {
        for (number, card) in guest.machine.cards.iter().enumerate() {
            let hub = networks.iter().position(|it| *it == card.network).unwrap_or_default();
            let end = format!("g{}c{number}", guest.entity);
            let path = cable(guest.entity, number);
            line.extend([
                "-netdev".to_owned(),
                format!("stream,id={end},server=on,addr.type=unix,addr.path={path}"),
            ]);
            line.extend(["-netdev".to_owned(), format!("hubport,id=hub-{end},hubid={hub},netdev={end}")]);
        }
    }
    if let Some(subnet) = network.subnet {
        for hub in 0..networks.len() {
            // Each network has the subnet; ports are published into the first.
            let mut user = format!(
                "user,id=host{hub},net={},host={},restrict=on,ipv6=off,dhcpstart={}",
                subnet,
                subnet.host(),
                subnet.last()
            );
            for (port, address) in network.published.iter().filter(|_| hub == 0) {
                user.push_str(&format!(
                    ",hostfwd=tcp:{}:{port}-{}:{}",
                    Ipv4Addr::LOCALHOST,
                    address.ip(),
                    address.port()
                ));
            }
            line.extend(["-netdev".to_owned(), user]);
            // On a hub of its own, with the gate between (`gate`).
            let (inner, [outside, inside]) = (networks.len() + hub, gate(hub));
            for (end, path, to) in [(OUTSIDE, outside, hub), (INSIDE, inside, inner)] {
                let options = format!("stream,id={end}{hub},server=on,addr.type=unix,addr.path={path}");
                line.extend(["-netdev".to_owned(), options]);
                let port = format!("hubport,id=hub-{end}{hub},hubid={to},netdev={end}{hub}");
                line.extend(["-netdev".to_owned(), port]);
            }
            let port = format!("hubport,id=hub-host{hub},hubid={inner},netdev=host{hub}");
            line.extend(["-netdev".to_owned(), port]);
        }
    }
    Some(line)
}

/// The socket that a guest's card is connected to.
pub(in crate::engine) fn cable(guest: usize, card: usize) -> String {
    socket(guest, &format!("n{card}"))
}

/// The sockets of the gate between a network's hub and this machine's end of it.
pub(super) fn gate(hub: usize) -> [String; 2] {
    [format!("s/h{hub}.out"), format!("s/h{hub}.in")]
}

/// All sockets of the networks, but for their monitor.
pub(super) fn sockets(plan: &Plan, network: &Network) -> Vec<String> {
    let cards =
        plan.guests.iter().flat_map(|it| (0..it.machine.cards.len()).map(|card| cable(it.entity, card)));
    let gates = gates(plan, network).into_iter().flat_map(|[outside, inside, _]| [outside, inside]);
    cards.chain(gates).collect()
}

/// What the gates of a deployment are told, each: its sockets, and the address of this machine.
pub(super) fn gates(plan: &Plan, network: &Network) -> Vec<[String; 3]> {
    let networks: BTreeSet<_> =
        plan.guests.iter().flat_map(|it| &it.machine.cards).map(|it| &it.network).collect();
    let told = |subnet: Subnet, hub: usize| {
        let [outside, inside] = gate(hub);
        [outside, inside, subnet.host().to_string()]
    };
    network.subnet.iter().flat_map(|&subnet| (0..networks.len()).map(move |hub| told(subnet, hub))).collect()
}
