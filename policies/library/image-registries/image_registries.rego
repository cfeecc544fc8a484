# METADATA
# title: Image registries
# description: |
#   Every container image comes from one of the registries in parameters.registries. An
#   entry is a registry or a path in one: "ghcr.io/shop" allows "ghcr.io/shop/cart:1.2"
#   and not "ghcr.io/shopping/cart:1.2".
package tidegate.image_registries

deny contains {"code": "TG-IMAGE-REGISTRY", "msg": msg, "fix": fix, "details": {"image": container.image}} if {
	some [path, container] in containers
	not allowed(reference(container.image))
	msg := sprintf("%s %q, %s: wanted an image from %s, found %q", [
		object.get(input.object, "kind", "object"),
		object.get(input.object, ["metadata", "name"], ""),
		path,
		concat(" or ", registries),
		container.image,
	])
	fix := "use an image from one of these registries, or ask the platform team to add another one to the policy's parameters.registries"
}

deny contains {"code": "TG-IMAGE-REGISTRY", "msg": msg, "fix": fix} if {
	count(registries) == 0
	msg := "wanted parameters.registries to list at least one registry, found none"
	fix := "kubectl edit deploypolicy image-registries"
}

default registries := []

registries := sort([trim_suffix(r, "/") | some r in input.parameters.registries; r != ""])

allowed(image) if {
	some registry in registries
	startswith(image, concat("", [registry, "/"]))
}

# Pod specifications, wherever the kind keeps them.
pod_specs["spec"] := input.object.spec if input.object.kind == "Pod"

pod_specs["spec.template.spec"] := input.object.spec.template.spec

pod_specs["spec.jobTemplate.spec.template.spec"] := input.object.spec.jobTemplate.spec.template.spec

containers contains [path, container] if {
	some prefix, spec in pod_specs
	some field in ["containers", "initContainers", "ephemeralContainers"]
	some i, container in spec[field]
	path := sprintf("%s.%s[%d]", [prefix, field, i])
}

# The full reference of an image: a name without a registry is Docker Hub's, and one
# without a path is in its library.
reference(image) := image if {
	contains(image, "/")
	has_host(image)
} else := concat("", ["docker.io/", image]) if {
	contains(image, "/")
} else := concat("", ["docker.io/library/", image])

has_host(image) if contains(split(image, "/")[0], ".")

has_host(image) if contains(split(image, "/")[0], ":")

has_host(image) if split(image, "/")[0] == "localhost"
