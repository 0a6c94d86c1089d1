# The same appliance by Packer, from Debian's own cloud image: partitions, boot loader and kernel are there already.
#
#     cd examples/image/packer && packer init . && packer build -var deb=PATH-TO-ovf-agent.deb .
#
# Written from Packer's documents, and not tried. The cloud image brings cloud-init, by which Packer gets in; the
# last step takes it away. An appliance may keep it as well: the agent does its work first.

packer {
  required_plugins {
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = "~> 1"
    }
  }
}

variable "deb" {
  type = string
}

source "qemu" "petstore" {
  iso_url          = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2"
  iso_checksum     = "file:https://cloud.debian.org/images/cloud/bookworm/latest/SHA512SUMS"
  disk_image       = true
  format           = "qcow2"
  headless         = true
  ssh_username     = "debian"
  ssh_password     = "only-while-it-is-built"
  shutdown_command = "sudo poweroff"
  cd_label         = "cidata"
  cd_content = {
    "meta-data" = ""
    "user-data" = "#cloud-config\npassword: only-while-it-is-built\nchpasswd: { expire: false }\nssh_pwauth: true\n"
  }
}

build {
  sources = ["source.qemu.petstore"]

  provisioner "file" {
    source      = var.deb
    destination = "/tmp/ovf-agent.deb"
  }
  provisioner "file" {
    source      = "../root"
    destination = "/tmp"
  }
  provisioner "shell" {
    execute_command = "sudo sh -eu {{ .Path }}"
    inline = [
      "apt-get update",
      "apt-get install --yes --no-install-recommends nginx-light postgresql",
      # Its root file system is known by another name.
      "rm /tmp/root/etc/fstab",
      "cp -r --no-preserve=ownership /tmp/root/. /",
      "dpkg --install /tmp/ovf-agent.deb",
      "mkdir -p /etc/petstore /var/www/petstore /etc/issue.d",
      "ln -s /run/issue.d/50-ovf-agent.issue /etc/issue.d/50-ovf-agent.issue",
      "rm -f /etc/nginx/sites-enabled/default /etc/netplan/*",
      "systemctl enable systemd-networkd.service petstore-database.service",
      "ovf-agent check",
      # Nothing of this machine may be in its copies: not its name, and not how Packer got in.
      "apt-get purge --yes cloud-init netplan.io",
      "userdel --force --remove debian",
      "rm -rf /var/lib/cloud /var/lib/ovf-agent /tmp/root /tmp/ovf-agent.deb",
      "truncate --size 0 /etc/machine-id",
    ]
  }
}
