# For Packer 1.7 and newer, which fetch their builders as plugins; 1.6.6 has them built in and refuses this block.
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3"
    }
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = ">= 1.1"
    }
  }
}
