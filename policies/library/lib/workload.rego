# METADATA
# title: Workloads
# description: |
#   What shipped policies share: where each kind keeps its pods and containers, how an
#   image or a quantity is read, and how a violation is worded. A value of the wrong type is
#   taken for one that is not there, so a policy that wants something there objects to it,
#   and none of them fails. A List stands for its items.
package lib.workload

objects := [{"at": "", "object": object_of(input.object)}] if not is_list

objects := [{"at": sprintf("items[%d].", [i]), "object": object_of(item)} |
	some i, item in input.object.items
] if {
	is_list
}

is_list if {
	is_array(input.object.items)
	endswith(kind_of(input.object), "List")
}

kind_of(object) := text_at(object, ["kind"])

# The object as messages call it: Deployment "cart".
subject(object) := sprintf("%s %q", [kind_of(object), name_of(object)])

name_of(object) := name if {
	name := text_at(object, ["metadata", "name"])
	name != ""
} else := text_at(object, ["metadata", "generateName"])

object_of(x) := x if {
	is_object(x)
} else := {}

object_at(x, path) := object_of(object.get(x, path, {}))

list_at(x, path) := list if {
	list := object.get(x, path, [])
	is_array(list)
} else := []

text_at(x, path) := text if {
	text := object.get(x, path, "")
	is_string(text)
} else := ""

# Null is as good as nothing: the API server drops it.
value_at(x, path) := object.get(x, path, null)

# True unless the value is there and is something else than those listed.
unset_or(x, path, list) if value_at(x, path) in array.concat([null], list)

# What is found, for a message: short, and never of what may be a secret.
shown(null) := "nothing"

shown(x) := text if {
	x != null
	whole := json.marshal(x)
	count(whole) <= 80
	text := whole
}

shown(x) := text if {
	x != null
	whole := json.marshal(x)
	count(whole) > 80
	text := concat("", [substring(whole, 0, 80), "..."])
}

listed(set) := "nothing" if count(set) == 0

listed(set) := concat(", ", sort(set)) if count(set) > 0

# Where a kind keeps the specification of its pods; all others have it in a template.
places := {
	"CronJob": ["spec", "jobTemplate", "spec", "template", "spec"],
	"Pod": ["spec"],
	"PodTemplate": ["template", "spec"],
}

pods := [pod |
	some entry in objects
	path := object.get(places, kind_of(entry.object), ["spec", "template", "spec"])
	spec := value_at(entry.object, path)
	is_object(spec)
	pod := {
		"subject": subject(entry.object),
		"kind": kind_of(entry.object),
		"object": entry.object,
		"metadata": object_at(entry.object, array.concat(array.slice(path, 0, count(path) - 1), ["metadata"])),
		"metadataPath": concat("", [entry.at, concat(".", array.concat(array.slice(path, 0, count(path) - 1), ["metadata"]))]),
		"path": concat("", [entry.at, concat(".", path)]),
		"spec": spec,
		"security": object_at(spec, ["securityContext"]),
		"windows": text_at(spec, ["os", "name"]) == "windows",
	}
]

# Containers of every sort. A sidecar is an init container that keeps running.
containers := [container |
	some pod in pods
	some sort in ["initContainers", "containers", "ephemeralContainers"]
	some i, raw in list_at(pod.spec, [sort])
	container := {
		"subject": pod.subject,
		"kind": pod.kind,
		"pod": pod,
		"sort": sort,
		"path": sprintf("%s.%s[%d]", [pod.path, sort, i]),
		"container": object_of(raw),
		"name": text_at(object_of(raw), ["name"]),
		"security": object_at(object_of(raw), ["securityContext"]),
		"runs": runs(sort, object_of(raw)),
	}
]

# Whether a container runs as long as its pod does.
runs("containers", _) := true

runs("initContainers", container) := text_at(container, ["restartPolicy"]) == "Always"

runs("ephemeralContainers", _) := false

# What a container has, or else its pod.
effective(container, path) := value if {
	value := value_at(container.security, path)
	value != null
} else := value_at(container.pod.security, path)

# Objects of a kind, as a violation wants them.
of_kind(kinds) := [{"subject": subject(entry.object), "kind": kind_of(entry.object), "path": entry.at, "object": entry.object} |
	some entry in objects
	kind_of(entry.object) in kinds
]

# The sources of a volume; the API server makes an emptyDir of none.
volume_types(volume) := types if {
	types := {key | some key, value in object_of(volume); key != "name"; value != null}
	count(types) > 0
} else := {"emptyDir"}

image(container) := text_at(container.container, ["image"])

# Whether an image is named by its content.
pinned(image) if regex.match(`@sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$`, image)

# The tag of an image, empty where it has none.
tag(image) := parts[1] if {
	path := split(split(image, "@")[0], "/")
	parts := split(path[count(path) - 1], ":")
	count(parts) == 2
} else := ""

factors := {
	"": 1, "m": 0.001,
	"k": 1000, "M": 1000000, "G": 1000000000, "T": 1000000000000, "P": 1000000000000000,
	"Ki": 1024, "Mi": 1048576, "Gi": 1073741824, "Ti": 1099511627776, "Pi": 1125899906842624,
}

# A quantity as a number: cores, or bytes. Undefined where it cannot be read.
quantity(x) := to_number(parts[1]) * factors[parts[2]] if {
	text := sprintf("%v", [x])
	some parts in regex.find_all_string_submatch_n(`^([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|)$`, text, 1)
}

# A violation of the field below whatever it is about, in three parts.
violation(code, about, field, wanted, found, fix) := {
	"code": code,
	"msg": sprintf("%s, %s: wanted %s, found %s", [about.subject, path, wanted, found]),
	"fix": concat("", [fix, where]),
	"details": {"path": path},
} if {
	path := below(about.path, field)
}

below(path, "") := path

below("", field) := field if field != ""

below(path, field) := concat("", [path, field]) if {
	path != ""
	field != ""
	endswith(path, ".")
}

below(path, field) := concat(".", [path, field]) if {
	path != ""
	field != ""
	not endswith(path, ".")
}

# Where that is done. Of an object that a Release renders, the Release and the template are known.
default where := "; then apply it again"

where := sprintf("; it is in the values (kubectl edit release %s -n %s) or in the template (kubectl edit releasetemplate %s)", [
	input.release.name,
	input.release.namespace,
	input.release.template,
])
