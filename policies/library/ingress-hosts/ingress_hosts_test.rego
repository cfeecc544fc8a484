package tidegate.ingress_hosts_test

import data.tidegate.ingress_hosts

about(namespace, host, parameters) := {
	"parameters": object.union({"rules": [{"namespaces": ["shop"], "domains": ["shop.example.com"]}], "requireTLS": true, "allowWildcards": false}, parameters),
	"request": {"namespace": namespace},
	"object": {"kind": "HTTPRoute", "metadata": {"name": "a"}, "spec": {"hostnames": [host]}},
}

test_the_namespace_of_the_request_counts if {
	count(ingress_hosts.deny) == 0 with input as about("shop", "a.shop.example.com", {})
	count(ingress_hosts.deny) == 1 with input as about("bank", "a.shop.example.com", {})
}

test_a_wildcard_of_the_own_domain_passes_where_wanted if {
	count(ingress_hosts.deny) == 0 with input as about("shop", "*.shop.example.com", {"allowWildcards": true})
	count(ingress_hosts.deny) == 1 with input as about("shop", "*.example.com", {"allowWildcards": true})
}

test_without_rules_nobody_has_a_domain if count(ingress_hosts.deny) == 1 with input as about("shop", "a.shop.example.com", {"rules": []})
