# The machine image: one provisioning script, two builders.
#
#   packer build -only=amazon-ebs.hst -var version=... hst-cloud.pkr.hcl    in an AWS account
#   deploy/image/build                                                      the proof under qemu
#
# Packer 1.7 and newer want plugins.pkr.hcl too: give the folder instead of this file. Debian's 1.6.6 knows no such block,
# and no imds_support either: publish.py sees to IMDSv2.

variable "version" {
  type    = string
  default = "0"
}

variable "set" {
  type    = string
  default = "full"
}

variable "context" {
  type    = string
  default = "deploy/_build/image-context"
}

# For qemu: Debian's own genericcloud image, or what deploy/image/parent makes of Debian's packages.
variable "parent" {
  type    = string
  default = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.raw"
}

variable "seed" {
  type    = string
  default = "deploy/_build/seed"
}

variable "key" {
  type    = string
  default = ""
}

variable "output" {
  type    = string
  default = "deploy/_build/image"
}

variable "accelerator" {
  type    = string
  default = "kvm"
}

locals {
  stamp = formatdate("YYYYMMDD-hhmm", timestamp())
}

source "amazon-ebs" "hst" {
  region          = "us-east-1"
  instance_type   = "m7i.large"
  ssh_username    = "admin"
  ami_name        = "hst-cloud-${replace(var.version, "+", "-")}-${local.stamp}"
  ami_description = "JupyterLab and hst_cloud: the public Hubble archive, as if it were a local disk"

  source_ami_filter {
    owners      = ["136693071363"] # Debian's
    most_recent = true
    filters = {
      name                = "debian-12-amd64-*"
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # Not encrypted: an encrypted snapshot can't be public. launch.yaml encrypts the volume at launch.
  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 12
    iops                  = 3000
    throughput            = 125 # 1.6.6 wants it written out
    encrypted             = false
    delete_on_termination = true
  }

  tags = {
    Name    = "hst-cloud"
    version = var.version
  }
}

source "qemu" "hst" {
  iso_url          = var.parent
  iso_checksum     = "none"
  disk_image       = true
  format           = "raw"
  disk_size        = "4096M"
  disk_interface   = "virtio"
  accelerator      = var.accelerator
  headless         = true
  vm_name          = "hst-cloud.raw"
  output_directory = var.output
  http_directory   = var.seed # meta-data and user-data, which the parent's cloud-init asks for
  shutdown_command = "sudo systemctl poweroff"

  ssh_username         = "debian"
  ssh_private_key_file = var.key
  ssh_timeout          = "20m"

  # Firmware and drive are named here, since an argument replaces all of Packer's own of its name.
  qemuargs = [
    ["-machine", "q35,accel=${var.accelerator}"],
    ["-cpu", "max"],
    ["-smp", "2"],
    ["-m", "3072"],
    ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"],
    ["-drive", "if=virtio,format=raw,cache=unsafe,file=${var.output}/hst-cloud.raw"],
    ["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{ .HTTPIP }}:{{ .HTTPPort }}/"],
    ["-serial", "file:${var.output}.console"],
  ]
}

build {
  sources = ["source.amazon-ebs.hst", "source.qemu.hst"]

  provisioner "shell" {
    inline = ["mkdir /tmp/context"] # else scp would take the first folder for it
  }

  provisioner "file" {
    source      = "${var.context}/"
    destination = "/tmp/context"
  }

  provisioner "shell" {
    script          = "deploy/image/provision"
    execute_command = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }} ${var.set}"
  }

  post-processor "manifest" {
    output = "deploy/_build/packer-manifest.json"
  }
}
