//! The package that is deployed: two guests, of which one waits for the other, and the disk that both boot from.

use crate::disk;
use anyhow::{Result, ensure};
use qemu_tests::Bench;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the first guest is called: nothing that XML or a domain's name could hold as it is.
pub(super) const FIRST: &str = "Data & <\"Base\">'s";
/// What guests' drivers are.
const MODULES: [&str; 6] = ["virtio_pci", "virtio_console", "virtio_blk", "virtio_net", "ata_piix", "sr_mod"];
const DISK: &str = "guest.raw";

/// Makes `package.ova` in a directory.
pub(super) fn make(bench: &Bench<'_>, directory: &Path) -> Result<()> {
    let [(_, agent), _] = bench.products()?;
    fs::write(directory.join("package.ovf"), descriptor())?;
    disk::make("joined", (&agent, &["word"]), &MODULES, &directory.join("tree"), &directory.join(DISK))?;
    let mut command = Command::new("tar");
    command.args(["--format=ustar", "-cf", "package.ova", "package.ovf", DISK]).current_dir(directory);
    ensure!(command.status()?.success(), "tar");
    Ok(())
}

fn descriptor() -> String {
    let guest = |id: &str, address: &str| {
        format!(
            r#"    <VirtualSystem ovf:id="{id}">
      <Info>A guest</Info>
      <ProductSection>
        <Info>What it is told</Info>
        <Property ovf:key="address" ovf:type="string" ovf:value="{address}"/>
        <Property ovf:key="word" ovf:type="string" ovf:value="first" ovf:userConfigurable="true"/>
      </ProductSection>
      <VirtualHardwareSection ovf:transport="iso">
        <Info>A PC</Info>
        <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>128</rasd:VirtualQuantity></Item>
        <Item><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>15</rasd:ResourceType></Item>
        <Item><rasd:HostResource>ovf:/disk/disk</rasd:HostResource><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType></Item>
        <Item><rasd:Connection>lan</rasd:Connection><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceSubType>virtio</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
      </VirtualHardwareSection>
    </VirtualSystem>
"#
        )
    };
    let first = FIRST.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    format!(
        r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References><File ovf:id="image" ovf:href="{DISK}"/></References>
  <DiskSection><Info>Disks</Info><Disk ovf:diskId="disk" ovf:fileRef="image" ovf:capacity="67108864"/></DiskSection>
  <NetworkSection><Info>Networks</Info><Network ovf:name="lan"><Description>All</Description></Network></NetworkSection>
  <VirtualSystemCollection ovf:id="Shop">
    <Info>Two guests</Info>
    <StartupSection>
      <Info>The order</Info>
      <Item ovf:id="{first}" ovf:order="0" ovf:waitingForGuest="true" ovf:stopAction="guestShutdown"/>
      <Item ovf:id="Web" ovf:order="1" ovf:waitingForGuest="true" ovf:stopAction="guestShutdown"/>
    </StartupSection>
{}{}  </VirtualSystemCollection>
</Envelope>
"#,
        guest(&first, "10.77.0.10"),
        guest("Web", "10.77.0.11"),
    )
}
