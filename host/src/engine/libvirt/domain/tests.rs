use std::path::PathBuf;

use super::{domain, letters, name, uuid};
use crate::engine::libvirt::{Settings, network};
use crate::engine::qemu::Network;
use crate::engine::{Guest, Plan};
use crate::machine::{Bus, Card, Disk, Format, Layer, Machine};
use crate::package::Place;

fn disk(bus: Bus, layers: &[(Format, Option<(u64, u64)>)]) -> Disk {
    let layer =
        |&(format, part)| Layer { place: Place { path: PathBuf::from("/srv/a&b.ova"), part }, format };
    Disk { bus, layers: layers.iter().map(layer).collect(), capacity: Some(1 << 20) }
}

fn plan(id: &str, disks: Vec<Disk>, directory: &str) -> Plan {
    let cards = vec![Card { network: "shop <1>".to_owned(), model: "vmxnet3".to_owned() }];
    let guest = Guest {
        entity: 2,
        id: id.to_owned(),
        machine: Machine { cpus: 2, memory: 1 << 30, disks, cards },
        disc: PathBuf::from(directory).join("guests/2/environment.iso"),
        document: String::new().into(),
    };
    Plan {
        name: "shop".to_owned(),
        key: directory.to_owned(),
        directory: directory.into(),
        guests: vec![guest],
    }
}

fn settings() -> Settings {
    Settings {
        connection: "qemu:///session".parse().expect("a connection"),
        program: "/usr/bin/qemu-system-x86_64".into(),
        accelerator: "tcg".to_owned(),
        network: Network::default(),
        far: None,
    }
}

fn made(plan: &Plan) -> Result<String, String> {
    domain(plan, &settings(), &plan.guests[0])
}

#[test]
fn whatever_a_package_says_is_a_text_of_the_xml() {
    let plan = plan("<DB & 'one' \"two\"\n>", vec![disk(Bus::Virtio, &[])], "/var/o'v&f");
    let text = made(&plan).expect("a domain");
    let tree = roxmltree::Document::parse(&text).expect("XML");
    let find = |name: &str| tree.descendants().find(|it| it.has_tag_name(name)).expect("an element");
    assert_eq!(find("title").text(), Some("shop/<DB & 'one' \"two\" >"));
    let own = find("disk").children().find(|it| it.has_tag_name("source")).expect("a source");
    assert_eq!(own.attribute("file"), Some("/var/o'v&f/guests/2/disk0.qcow2"));
    let domain = find("name").text().expect("a name");
    assert!(
        domain.starts_with("shop--DB----one---two----") && !domain.contains(['\'', '<', '&', ' ']),
        "{domain}"
    );
}

#[test]
fn below_a_guests_own_file_is_what_the_package_says_and_nothing_else() {
    let layers = [(Format::Vmdk, Some((17_920, 1_000))), (Format::Vmdk, None)];
    let text = made(&plan("a", vec![disk(Bus::Ide, &layers)], "/d")).expect("a domain");
    let tree = roxmltree::Document::parse(&text).expect("XML");
    let disk = tree.descendants().find(|it| it.has_tag_name("disk")).expect("a disk");
    let chain: Vec<_> = disk.descendants().filter(|it| it.has_tag_name("backingStore")).collect();
    assert_eq!(chain.len(), 3);
    assert!(chain.windows(2).all(|pair| pair[1].parent() == Some(pair[0])), "{text}");
    assert!(!chain[2].has_children() && chain[2].attributes().len() == 0, "the last ends the chain: {text}");
    let slice = |at: usize| {
        let source = chain[at].children().find(|it| it.has_tag_name("source")).expect("a source");
        let slice = source.descendants().find(|it| it.has_tag_name("slice"))?;
        Some((slice.attribute("offset")?.to_owned(), slice.attribute("size")?.to_owned()))
    };
    // The one that differs is above the one that it differs from.
    assert_eq!((slice(0), slice(1)), (None, Some(("17920".to_owned(), "1024".to_owned()))));
}

#[test]
fn disks_have_places_on_their_buses() {
    let buses = [Bus::Ide, Bus::Sata, Bus::Lsi, Bus::Pvscsi, Bus::Lsi, Bus::LsiSas, Bus::Virtio, Bus::Ide];
    let text = made(&plan("a", buses.iter().map(|&it| disk(it, &[])).collect(), "/d")).expect("a domain");
    let tree = roxmltree::Document::parse(&text).expect("XML");
    let mut places = Vec::new();
    for disk in tree.descendants().filter(|it| it.attribute("device") == Some("disk")) {
        let child = |name: &str| disk.children().find(|it| it.has_tag_name(name));
        let address = child("address").map(|it| {
            ["controller", "bus", "target", "unit"]
                .map(|word| it.attribute(word).expect("a number"))
                .join(":")
        });
        let target = child("target").and_then(|it| it.attribute("dev")).expect("a name");
        let order = child("boot").and_then(|it| it.attribute("order")).expect("a number");
        places.push(format!("{order} {target} {}", address.unwrap_or_default()));
    }
    assert_eq!(
        places,
        [
            "1 hda 0:0:0:0",
            "2 sda 0:0:0:0",
            "3 sdb 0:0:0:0",
            "4 sdc 1:0:0:0",
            "5 sdd 0:0:0:1",
            "6 sde 2:0:0:0",
            "7 vda ",
            "8 hdb 0:0:0:1"
        ]
    );
    let models: Vec<_> = tree
        .descendants()
        .filter(|it| it.has_tag_name("controller"))
        .filter_map(|it| it.attribute("model"))
        .collect();
    assert_eq!(models, ["lsilogic", "vmpvscsi", "lsisas1068", "none"]);
}

#[test]
fn what_libvirt_has_not_is_refused() {
    let full = (0..4).map(|_| disk(Bus::Ide, &[])).collect();
    assert!(made(&plan("a", full, "/d")).is_err_and(|it| it.contains("more than 3 disks on IDE")));
    let nvme = made(&plan("a", vec![disk(Bus::Nvme, &[])], "/d"));
    assert!(nvme.is_err_and(|it| it.contains("--engine qemu")));
    assert!(made(&plan("a", Vec::new(), "/a\u{1}b")).is_err_and(|it| it.contains("cannot be written")));
}

#[test]
fn two_deployments_are_two_to_libvirt() {
    let (here, there) = (plan("a", Vec::new(), "/d"), plan("a", Vec::new(), "/e"));
    assert_ne!(name(&here, &here.guests[0]), name(&there, &there.guests[0]));
    assert_ne!(uuid(&here, &here.guests[0]), uuid(&there, &there.guests[0]));
    let network = network::name(&here, "shop <1>");
    assert!(network::is_of(&here, &network) && !network::is_of(&there, &network), "{network}");
    // As `down` has it: what its guests have is in the package, which may be gone.
    let mut ended = plan("a", Vec::new(), "/d");
    ended.guests[0].machine.cards.clear();
    assert!(network::is_of(&ended, &network), "{network}");
    assert_eq!(uuid(&here, &here.guests[0]), uuid(&here, &here.guests[0]));
    let it = uuid(&here, &here.guests[0]);
    let lengths: Vec<_> = it.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{it}");
}

#[test]
fn the_first_network_has_the_subnet() {
    let mut plan = plan("a", Vec::new(), "/d");
    plan.guests[0].machine.cards.push(Card { network: "zoo".to_owned(), model: String::new() });
    let all = network::networks(&plan, Some("10.77.0.0/24".parse().expect("a subnet")));
    let has_address = |text: &String| text.contains("<ip address=\"10.77.0.1\" prefix=\"24\"/>");
    assert_eq!(all.iter().map(has_address).collect::<Vec<_>>(), [true, false]);
    for text in &all {
        let tree = roxmltree::Document::parse(text).expect("XML");
        assert!(!tree.descendants().any(|it| it.has_tag_name("forward")), "isolated: {text}");
    }
}

#[test]
fn letters_go_on_behind_z() {
    assert_eq!([0, 25, 26, 27, 701, 702].map(letters), ["a", "z", "aa", "ab", "zz", "aaa"]);
}
