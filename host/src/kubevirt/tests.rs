use super::{Network, bytes, network};

#[test]
fn quantities_are_never_less_than_the_bytes() {
    for (count, want) in [
        (0, "1Mi"),
        (1, "1Mi"),
        (512 << 20, "512Mi"),
        ((512 << 20) + 1, "513Mi"),
        (8 << 30, "8Gi"),
        (u64::MAX, "17592186044416Mi"),
    ] {
        assert_eq!(bytes(count), want, "{count}");
    }
}

#[test]
fn networks_of_the_package_become_networks_of_the_cluster() {
    let attached = |it: &str| Ok(Network::Attached(it.to_owned()));
    let nonsense = "is neither `pod` nor the name of a NetworkAttachmentDefinition, with its namespace and a slash before it or not";
    for (word, want) in [
        ("VM Network=pod", Ok(Network::Pod)),
        ("VM Network=lan", attached("lan")),
        ("VM Network=infra/vlan-7.a", attached("infra/vlan-7.a")),
        ("a=b=lan", attached("lan")),
        ("VM Network", Err("`VM Network` is not NAME=NETWORK".to_owned())),
        ("VM Network=", Err(format!("`` {nonsense}"))),
        ("VM Network=Lan", Err(format!("`Lan` {nonsense}"))),
        ("VM Network=a/b/c", Err(format!("`a/b/c` {nonsense}"))),
        ("VM Network=/b", Err(format!("`/b` {nonsense}"))),
    ] {
        assert_eq!(network(word, ["VM Network", "a=b"]).map(|(_, it)| it), want, "{word}");
    }
    let unknown = network("VM Netwerk=pod", ["VM Network"]).expect_err("there is none");
    assert!(unknown.starts_with("no guest is in a network `VM Netwerk`; "), "{unknown}");
}
