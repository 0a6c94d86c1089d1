//! The descriptor of a package that is made here.
//!
//! Decides how a recipe is said in OVF 1: one VirtualSystem, or a collection of them and of groups, each with a StartupSection;
//! hardware that every platform has, and other quantities of it in single deployment options. Elements stand in the order of the schema (DSP8023), those of CIM in the alphabet's.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::Made;
use super::product::sections;
use super::properties::Properties;
use crate::descriptor::{NAMESPACE, VMWARE};
use crate::document::escaped;
use crate::recipe::{Machine, Recipe, Start, Stop, in_order, size};

const CIM: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2";
const STREAM_OPTIMISED: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

/// A machine, and what has been made for it.
pub(super) struct Part<'a> {
    pub(super) id: &'a str,
    pub(super) machine: &'a Machine,
    pub(super) disks: Vec<Made>,
    pub(super) licence: Option<String>,
}

/// The descriptor.
pub(super) fn write(recipe: &Recipe, parts: &[Part<'_>], properties: &Properties) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Envelope xmlns=\"{NAMESPACE}\" xmlns:ovf=\"{NAMESPACE}\"\n    \
         xmlns:rasd=\"{CIM}/CIM_ResourceAllocationSettingData\"\n    xmlns:vssd=\"{CIM}/CIM_VirtualSystemSettingData\"\n    xmlns:vmw=\"{VMWARE}\">\n"
    );
    let disks: Vec<&Made> = parts.iter().flat_map(|it| &it.disks).collect();
    out.push_str("  <References>\n");
    for (name, bytes) in disks.iter().filter_map(|it| it.file.as_ref()) {
        out.push_str(&format!("    <File ovf:id=\"{name}\" ovf:href=\"{name}\" ovf:size=\"{bytes}\"/>\n"));
    }
    out.push_str("  </References>\n");
    if !disks.is_empty() {
        out.push_str("  <DiskSection>\n    <Info>The disks of all machines</Info>\n");
        for disk in disks {
            let file =
                disk.file.as_ref().map_or(String::new(), |(name, _)| format!(" ovf:fileRef=\"{name}\""));
            out.push_str(&format!(
                "    <Disk ovf:diskId=\"{}\"{file} ovf:capacity=\"{}\" ovf:format=\"{STREAM_OPTIMISED}\"/>\n",
                disk.id, disk.capacity
            ));
        }
        out.push_str("  </DiskSection>\n");
    }
    if !recipe.networks.is_empty() {
        out.push_str("  <NetworkSection>\n    <Info>The networks of all machines</Info>\n");
        for (name, network) in &recipe.networks {
            out.push_str(&format!(
                "    <Network ovf:name=\"{}\">\n      <Description>{}</Description>\n    </Network>\n",
                escaped(name),
                escaped(&network.description)
            ));
        }
        out.push_str("  </NetworkSection>\n");
    }
    configurations(&mut out, recipe);
    let product = [("Product", &recipe.product), ("Vendor", &recipe.vendor), ("Version", &recipe.version)];
    let mut inner = Vec::new();
    for part in parts {
        let own = &properties.machines[part.id];
        let mut text = String::new();
        let product = if recipe.is_collection() { &[][..] } else { &product };
        sections("What this machine can be told", own, product, &mut text);
        inner.push((part, text));
    }
    if !recipe.is_collection() {
        inner.iter().for_each(|(part, products)| system(&mut out, part, products));
        out.push_str("</Envelope>\n");
        return out;
    }
    let name = recipe.name.get_ref();
    begin(&mut out, name, recipe.product.as_deref().unwrap_or(name));
    sections("What the whole appliance can be told", &properties.whole, &product, &mut out);
    let groups = in_order(&recipe.groups);
    let mut items: Vec<_> = groups.iter().map(|(id, it)| (*id, it.start, it.stop)).collect();
    let mut items_of: BTreeMap<&str, Vec<Item<'_>>> = BTreeMap::new();
    for Part { id, machine, .. } in parts {
        let start = machine.start.as_ref().map(|it| *it.get_ref()).unwrap_or_default();
        let stop = machine.stop.as_ref().map(|it| *it.get_ref()).unwrap_or_default();
        let item = (*id, start, stop);
        match group(machine) {
            Some(group) => items_of.entry(group).or_default().push(item),
            None => items.push(item),
        }
    }
    startup(&mut out, &items);
    for (id, it) in groups {
        begin(&mut out, id, if it.description.is_empty() { "A group of machines" } else { &it.description });
        sections("What all of this group can be told", &properties.groups[id], &[], &mut out);
        startup(&mut out, items_of.get(id).map_or(&[][..], Vec::as_slice));
        let members = inner.iter().filter(|(part, _)| group(part.machine) == Some(id));
        members.for_each(|(part, products)| system(&mut out, part, products));
        out.push_str("  </VirtualSystemCollection>\n");
    }
    let others = inner.iter().filter(|(part, _)| group(part.machine).is_none());
    others.for_each(|(part, products)| system(&mut out, part, products));
    out.push_str("  </VirtualSystemCollection>\n</Envelope>\n");
    out
}

fn group(machine: &Machine) -> Option<&str> {
    machine.group.as_ref().map(|it| it.get_ref().as_str())
}

fn begin(out: &mut String, id: &str, info: &str) {
    let info = escaped(info);
    out.push_str(&format!("  <VirtualSystemCollection ovf:id=\"{id}\">\n    <Info>{info}</Info>\n"));
}

fn configurations(out: &mut String, recipe: &Recipe) {
    if recipe.configurations.is_empty() {
        return;
    }
    out.push_str("  <DeploymentOptionSection>\n    <Info>The sizes to choose from</Info>\n");
    for (id, option) in recipe.configurations() {
        let default = if option.default { " ovf:default=\"true\"" } else { "" };
        let label = option.label.as_deref().unwrap_or(id);
        let description = if option.description.is_empty() { label } else { &option.description };
        out.push_str(&format!(
            "    <Configuration ovf:id=\"{id}\"{default}>\n      <Label>{}</Label>\n      <Description>{}</Description>\n    \
             </Configuration>\n",
            escaped(label),
            escaped(description)
        ));
    }
    out.push_str("  </DeploymentOptionSection>\n");
}

/// What is started and stopped, when and how.
type Item<'a> = (&'a str, Start, Stop);

fn startup(out: &mut String, items: &[Item<'_>]) {
    out.push_str("    <StartupSection>\n      <Info>The order in which they start, and stop the other way round</Info>\n");
    for (id, start, stop) in items {
        out.push_str(&format!(
            "      <Item ovf:id=\"{id}\" ovf:order=\"{}\" ovf:startDelay=\"{}\" ovf:waitingForGuest=\"{}\" ovf:stopDelay=\"{}\" \
             ovf:startAction=\"powerOn\" ovf:stopAction=\"{}\"/>\n",
            start.order,
            start.delay,
            start.wait_for_guest,
            stop.delay,
            stop.action.as_str()
        ));
    }
    out.push_str("    </StartupSection>\n");
}

fn system(out: &mut String, part: &Part<'_>, products: &str) {
    let Part { id, machine, disks, licence, .. } = part;
    let info = if machine.description.is_empty() { "A virtual machine" } else { &machine.description };
    out.push_str(&format!(
        "  <VirtualSystem ovf:id=\"{id}\">\n    <Info>{}</Info>\n    <Name>{id}</Name>\n",
        escaped(info)
    ));
    out.push_str(products);
    if let Some(licence) = licence {
        out.push_str(&format!(
            "    <EulaSection>\n      <Info>What has to be accepted</Info>\n      <License>{}</License>\n    </EulaSection>\n",
            escaped(licence)
        ));
    }
    out.push_str(&format!(
        "    <OperatingSystemSection ovf:id=\"{}\">\n      <Info>The guest's operating system</Info>\n    \
         </OperatingSystemSection>\n",
        machine.operating_system
    ));
    hardware(out, id, machine, disks);
    out.push_str("  </VirtualSystem>\n");
}

fn hardware(out: &mut String, id: &str, machine: &Machine, disks: &[Made]) {
    let transport = machine.transport.iter().map(|it| escaped(it.get_ref())).collect::<Vec<_>>().join(" ");
    let transport = if transport.is_empty() { transport } else { format!(" ovf:transport=\"{transport}\"") };
    out.push_str(&format!(
        "    <VirtualHardwareSection{transport}>\n      <Info>What the machine needs</Info>\n      <System>\n        \
         <vssd:ElementName>Virtual hardware</vssd:ElementName>\n        <vssd:InstanceID>0</vssd:InstanceID>\n        \
         <vssd:VirtualSystemIdentifier>{id}</vssd:VirtualSystemIdentifier>\n        \
         <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>\n      </System>\n"
    ));
    let mut instance = 0;
    // CIM's elements, in the alphabet's order whatever the order here. What is otherwise in a deployment option has the
    // instance of what it replaces (DSP0243, 9.8).
    let mut write = |configuration: Option<&str>, name: &str, resource: u32, more: &[(&str, &str)]| {
        instance += u32::from(configuration.is_none());
        let (id, resource) = (instance.to_string(), resource.to_string());
        let mut all = vec![("ElementName", name), ("InstanceID", &id), ("ResourceType", &resource)];
        all.extend_from_slice(more);
        all.sort_unstable_by_key(|(element, _)| *element);
        let attribute = configuration.map_or(String::new(), |it| format!(" ovf:configuration=\"{it}\""));
        out.push_str(&format!("      <Item{attribute}>\n"));
        for (element, text) in all {
            out.push_str(&format!("        <rasd:{element}>{}</rasd:{element}>\n", escaped(text)));
        }
        out.push_str("      </Item>\n");
        id
    };
    let otherwise = in_order(&machine.configurations);
    let cpus = otherwise.iter().filter_map(|(option, it)| Some((Some(*option), it.cpus?)));
    for (option, cpus) in [(None, machine.cpus)].into_iter().chain(cpus) {
        let cpus = cpus.to_string();
        write(option, "Processors", 3, &[("AllocationUnits", "hertz * 10^6"), ("VirtualQuantity", &cpus)]);
    }
    let memories = otherwise.iter().filter_map(|(option, it)| Some((Some(*option), it.memory.as_ref()?)));
    for (option, memory) in [(None, &machine.memory)].into_iter().chain(memories) {
        let mebibytes = (size(memory.get_ref()).unwrap_or_default() >> 20).max(1).to_string();
        write(option, "Memory", 4, &[("AllocationUnits", "byte * 2^20"), ("VirtualQuantity", &mebibytes)]);
    }
    let mut item = |name: &str, resource: u32, more: &[(&str, &str)]| write(None, name, resource, more);
    if machine.transport.iter().any(|it| it.get_ref() == "iso") {
        let ide = item("IDE controller", 5, &[("Address", "0")]);
        let drive = [("AddressOnParent", "0"), ("AutomaticAllocation", "false"), ("Parent", ide.as_str())];
        item("CD drive", 15, &drive);
    }
    if !disks.is_empty() {
        let scsi = item("SCSI controller", 6, &[("Address", "0"), ("ResourceSubType", "lsilogic")]);
        for (number, disk) in disks.iter().enumerate() {
            // The controller itself is the seventh (SCSI-2); others count from 0 to 15.
            let address = number + usize::from(number >= 7);
            let (address, resource) = (address.to_string(), format!("ovf:/disk/{}", disk.id));
            let more =
                [("AddressOnParent", address.as_str()), ("HostResource", &resource), ("Parent", &scsi)];
            item(&format!("Disk {}", number + 1), 17, &more);
        }
    }
    for (number, network) in machine.networks.iter().enumerate() {
        let address = number.to_string();
        let more = [
            ("AddressOnParent", address.as_str()),
            ("AutomaticAllocation", "true"),
            ("Connection", network.get_ref()),
            ("ResourceSubType", "E1000"),
        ];
        item(&format!("Network card {}", number + 1), 10, &more);
    }
    out.push_str("    </VirtualHardwareSection>\n");
}
