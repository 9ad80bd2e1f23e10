# The images: `docker buildx bake --file deploy/docker-bake.hcl`, in the folder of the project.

variable "VERSION" {
  default = "0.1.0"
}

variable "IMAGE_PREFIX" { # a registry and a folder in it, with a slash at the end
  default = ""
}

group "default" {
  targets = ["server", "client"]
}

target "server" {
  context = "server"
  args    = { VERSION = VERSION }
  tags    = ["${IMAGE_PREFIX}translation-server:${VERSION}"]
}

target "client" {
  context = "client"
  args    = { VERSION = VERSION }
  tags    = ["${IMAGE_PREFIX}translation-client:${VERSION}"]
}

# What is published: for both processors, with how it was built and what it contains.

group "release" {
  targets = ["server-release", "client-release"]
}

target "release-options" {
  platforms = ["linux/amd64", "linux/arm64"]
  attest    = ["type=provenance,mode=max", "type=sbom"]
}

target "server-release" {
  inherits = ["server", "release-options"]
}

target "client-release" {
  inherits = ["client", "release-options"]
}
