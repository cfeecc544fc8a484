package tidegate.image_registries_test

import data.tidegate.image_registries

deployment(image) := {
	"parameters": {"registries": ["ghcr.io/shop", "registry.example:5000/"]},
	"object": {
		"kind": "Deployment",
		"metadata": {"name": "cart"},
		"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}},
	},
}

count_of(doc) := n if {
	n := count(image_registries.deny) with input as doc
}

test_a_listed_registry_passes if count_of(deployment("ghcr.io/shop/cart:1.2")) == 0

test_a_listed_registry_with_a_port_passes if count_of(deployment("registry.example:5000/cart")) == 0

test_another_registry_is_denied_with_path_and_image if {
	image_registries.deny == {{
		"code": "TG-IMAGE-REGISTRY",
		"msg": `Deployment "cart", spec.template.spec.containers[0]: wanted an image from ghcr.io/shop or registry.example:5000, found "quay.io/evil/cart"`,
		"fix": "use an image from one of these registries, or ask the platform team to add another one to the policy's parameters.registries",
		"details": {"image": "quay.io/evil/cart"},
	}} with input as deployment("quay.io/evil/cart")
}

test_a_longer_name_of_the_same_beginning_is_denied if count_of(deployment("ghcr.io/shopping/cart")) == 1

test_a_name_without_a_registry_is_docker_hub if {
	count_of(deployment("nginx")) == 1
	count_of(object.union(deployment("nginx"), {"parameters": {"registries": ["docker.io/library"]}})) == 0
	count_of(object.union(deployment("grafana/loki"), {"parameters": {"registries": ["docker.io/grafana"]}})) == 0
}

test_a_registry_cannot_be_imitated_by_a_path if count_of(deployment("evil.example/ghcr.io/shop/cart")) == 1

test_every_kind_of_container_is_looked_at if {
	count_of({
		"parameters": {"registries": ["ghcr.io"]},
		"object": {"kind": "Pod", "spec": {
			"containers": [{"image": "a"}],
			"initContainers": [{"image": "b"}],
			"ephemeralContainers": [{"image": "c"}],
		}},
	}) == 3
}

test_cron_jobs_are_looked_at if {
	count_of({
		"parameters": {"registries": ["ghcr.io"]},
		"object": {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}}},
	}) == 1
}

test_an_object_without_containers_passes if {
	count_of({"parameters": {"registries": ["ghcr.io"]}, "object": {"kind": "Service", "spec": {"ports": []}}}) == 0
}

test_missing_parameters_are_denied if {
	count_of({"parameters": {}, "object": {"kind": "Service"}}) == 1
	count_of({"parameters": {"registries": []}, "object": {"kind": "Service"}}) == 1
}
