//! Packages of guests that behave as they are told (`guest/deployed/init`).

use std::fmt::Write;

/// A descriptor with one disk, `disk.raw`, from which every guest boots, and this root.
pub(super) fn descriptor(root: &str) -> String {
    descriptor_of("disk.raw", root)
}

/// The same, where the disk's image is another file.
pub(super) fn descriptor_of(image: &str, root: &str) -> String {
    format!(
        r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References><File ovf:id="image" ovf:href="{image}"/></References>
  <DiskSection><Info>Disks</Info><Disk ovf:diskId="disk" ovf:fileRef="image" ovf:capacity="67108864"/></DiskSection>
  <NetworkSection><Info>Networks</Info><Network ovf:name="lan"><Description>All</Description></Network></NetworkSection>
{root}</Envelope>
"#
    )
}

/// A collection: its Startup items, each with its further attributes, and what is in it.
pub(super) fn collection(id: &str, items: &[(&str, &str)], children: &[String]) -> String {
    let items = items.iter().fold(String::new(), |mut all, (id, attributes)| {
        let _ = writeln!(all, r#"      <Item ovf:id="{id}" {attributes}/>"#);
        all
    });
    format!(
        r#"  <VirtualSystemCollection ovf:id="{id}">
    <Info>Guests</Info>
    <ProductSection>
      <Info>For all of them</Info>
      <Property ovf:key="number" ovf:type="string" ovf:value="0" ovf:userConfigurable="true"/>
    </ProductSection>
    <StartupSection>
      <Info>The order</Info>
{items}    </StartupSection>
{}  </VirtualSystemCollection>
"#,
        children.concat()
    )
}

/// A guest of this behaviour.
pub(super) fn guest(id: &str, behaviour: &str) -> String {
    guest_with(id, behaviour, "", "")
}

/// The same with further sections, and further hardware.
pub(super) fn guest_with(id: &str, behaviour: &str, sections: &str, hardware: &str) -> String {
    format!(
        r#"  <VirtualSystem ovf:id="{id}">
    <Info>A guest</Info>
    <ProductSection>
      <Info>What it is told</Info>
      <Property ovf:key="behaviour" ovf:type="string" ovf:value="{behaviour}"/>
      <Property ovf:key="word" ovf:type="string" ovf:value="first" ovf:userConfigurable="true"/>
    </ProductSection>
    {sections}<VirtualHardwareSection ovf:transport="iso">
      <Info>A PC</Info>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>128</rasd:VirtualQuantity></Item>
      <Item><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>15</rasd:ResourceType></Item>
      <Item><rasd:HostResource>ovf:/disk/disk</rasd:HostResource><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType></Item>{hardware}
    </VirtualHardwareSection>
  </VirtualSystem>
"#
    )
}

/// A section that has a guest boot once to install itself.
pub(super) const INSTALL: &str =
    "<InstallSection ovf:initialBootStopDelay=\"90\"><Info>It installs itself</Info></InstallSection>\n    ";

/// A network card.
pub(super) const CARD: &str = "\n      <Item><rasd:Connection>lan</rasd:Connection><rasd:InstanceID>4</rasd:InstanceID>\
    <rasd:ResourceSubType>virtio</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>";
