{{/* Users of a list as CEL. */}}
{{- define "tidegate.celList" -}}
[{{ range $i, $u := . }}{{ if $i }}, {{ end }}{{ $u | toJson }}{{ end }}]
{{- end }}

{{/* The built-in controllers whose identity the gate or one of its guards lets write. A test
compares it with the manager's own table, and holds every account that a guard names to it:
an account that is trusted and not guarded is anybody's. */}}
{{- define "tidegate.builtinAccounts" -}}
["clusterrole-aggregation-controller", "cronjob-controller", "daemon-set-controller", "deployment-controller", "device-taint-eviction-controller", "disruption-controller", "endpoint-controller", "endpointslice-controller", "endpointslicemirroring-controller", "generic-garbage-collector", "horizontal-pod-autoscaler", "job-controller", "legacy-service-account-token-cleaner", "namespace-controller", "node-controller", "pod-garbage-collector", "replicaset-controller", "replication-controller", "resource-claim-controller", "root-ca-cert-publisher", "service-account-controller", "service-controller", "statefulset-controller", "taint-eviction-controller", "ttl-after-finished-controller"]
{{- end }}

{{/* Their user names. */}}
{{- define "tidegate.builtinUsers" -}}
[{{ range $i, $a := include "tidegate.builtinAccounts" . | fromJsonArray }}{{ if $i }}, {{ end }}{{ printf "system:serviceaccount:kube-system:%s" $a | toJson }}{{ end }}]
{{- end }}

{{/* The programs of the control plane that log in by certificate. */}}
{{- define "tidegate.programs" -}}
["system:cloud-controller-manager", "system:kube-controller-manager", "system:kube-scheduler"]
{{- end }}

{{/* Whether who asks logged in themselves. A certificate and a token have an ID, which the API
server adds to the user; who is impersonated has none, but for who may claim one. */}}
{{- define "tidegate.credential" -}}
has(request.userInfo.extra) && "authentication.kubernetes.io/credential-id" in request.userInfo.extra && request.userInfo.extra["authentication.kubernetes.io/credential-id"].exists(c, c.startsWith("X509SHA256=") || c.startsWith("JTI="))
{{- end }}

{{/* The one condition of ring 2 that is the same whatever the Gates say; a test compares it. */}}
{{- define "tidegate.labelledCondition" -}}
(object != null && has(object.metadata) && has(object.metadata.labels) && "tidegate.io/release" in object.metadata.labels) || (oldObject != null && has(oldObject.metadata) && has(oldObject.metadata.labels) && "tidegate.io/release" in oldObject.metadata.labels)
{{- end }}

{{/* The kinds that ring 2 judges in every governed namespace, group and resource; a test
compares it with the manager's own table. */}}
{{- define "tidegate.ringTwo" -}}
[["", "services"], ["apps", "daemonsets"], ["apps", "deployments"], ["apps", "deployments/scale"], ["apps", "statefulsets"], ["apps", "statefulsets/scale"], ["autoscaling", "horizontalpodautoscalers"], ["autoscaling.k8s.io", "verticalpodautoscalers"], ["batch", "cronjobs"], ["batch", "jobs"], ["gateway.networking.k8s.io", "grpcroutes"], ["gateway.networking.k8s.io", "httproutes"], ["gateway.networking.k8s.io", "referencegrants"], ["gateway.networking.k8s.io", "tcproutes"], ["gateway.networking.k8s.io", "tlsroutes"], ["gateway.networking.k8s.io", "udproutes"], ["networking.istio.io", "destinationrules"], ["networking.istio.io", "envoyfilters"], ["networking.istio.io", "virtualservices"], ["networking.istio.io", "workloadentries"], ["networking.k8s.io", "ingresses"], ["policy", "poddisruptionbudgets"], ["projectcontour.io", "httpproxies"], ["split.smi-spec.io", "trafficsplits"], ["traefik.io", "ingressroutes"], ["traefik.io", "ingressroutetcps"], ["traefik.io", "ingressrouteudps"], ["traefik.io", "traefikservices"]]
{{- end }}

{{/* Variables that all guards share. Whoever is in `trusted` is let through. */}}
{{- define "tidegate.guardVariables" -}}
- name: user
  expression: request.userInfo.username
- name: groups
  expression: "has(request.userInfo.groups) ? request.userInfo.groups : []"
- name: sub
  expression: 'has(request.subResource) ? request.subResource : ""'
- name: what
  expression: 'request.resource.resource + (variables.sub != "" ? "/" + variables.sub : "")'
# A collection is deleted one by one, each without a name in the request.
- name: name
  expression: >-
    has(request.name) && request.name != "" ? request.name :
    oldObject != null && has(oldObject.metadata) && has(oldObject.metadata.name) ? string(oldObject.metadata.name) :
    object != null && has(object.metadata) && has(object.metadata.name) ? string(object.metadata.name) : ""
- name: credential
  expression: {{ include "tidegate.credential" . | squote }}
- name: person
  expression: {{ if .Values.guard.credentials.admins }}variables.credential{{ else }}"true"{{ end }}
- name: admin
  expression: >-
    variables.person && (variables.user in {{ include "tidegate.celList" .Values.guard.admins.users }} ||
    variables.groups.exists(g, g in {{ include "tidegate.celList" .Values.guard.admins.groups }}))
- name: trusted
  expression: variables.admin || variables.user == {{ include "tidegate.identity" . | quote }}
# These come with their own credentials: see tidegate-guard-identity.
- name: builtin
  expression: variables.user in {{ include "tidegate.programs" . }} + {{ include "tidegate.builtinUsers" . }}
- name: node
  expression: >-
    variables.user.startsWith("system:node:") && "system:nodes" in variables.groups{{ if .Values.guard.credentials.nodes }} && variables.credential{{ end }}
# A node asks for the tokens of the pods that are bound to it, and for no other. The pod has
# to be there; NodeRestriction sees to it that it is the node's.
- name: podToken
  expression: >-
    variables.node && variables.what == "serviceaccounts/token" && has(object.spec.boundObjectRef) && object.spec.boundObjectRef != null &&
    has(object.spec.boundObjectRef.kind) && object.spec.boundObjectRef.kind == "Pod"
{{- end }}

{{/* The message of a guard: wanted, found, do. */}}
{{- define "tidegate.guardMessage" -}}
'"TG-GUARD: " + variables.what + " \"" + variables.name + "\" is part of what keeps Tidegate''s gate standing; wanted: one of the identities in guard.admins of the chart, found: " + request.operation + " by \"" + variables.user + "\"; do: ask one of them, or: helm upgrade {{ .Release.Name }} CHART -n {{ .Release.Namespace }} --reuse-values --set-json ''guard.admins.users=[...]''"'
{{- end }}

{{/* The API server's defaults are written out, so that the manager can compare what stands
with what should. */}}
{{- define "tidegate.guardBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "tidegate.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* What the manager puts back when somebody removes or edits it: the guards, and the
policies that stamp who decided and who changed. */}}
{{- define "tidegate.standing" -}}
{{ include "tidegate.actor" . }}
---
{{ include "tidegate.author" . }}
{{- if .Values.guard.enabled }}
---
{{ include "tidegate.guards" . }}
{{- end }}
{{- end }}

{{- define "tidegate.guards" -}}
# What Tidegate rests on in the whole cluster. It is judged in the API server, so it holds
# while nothing of Tidegate runs.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: tidegate-guard-cluster
  labels:
    {{- include "tidegate.labels" . | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    matchPolicy: Equivalent
    namespaceSelector: {}
    objectSelector: {}
    resourceRules:
      - apiGroups: [admissionregistration.k8s.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: [mutatingwebhookconfigurations, validatingwebhookconfigurations]
        scope: "*"
      - apiGroups: [apiextensions.k8s.io]
        apiVersions: ["*"]
        operations: [UPDATE, DELETE]
        resources: [customresourcedefinitions, customresourcedefinitions/status]
        scope: "*"
      - apiGroups: [apiregistration.k8s.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: [apiservices, apiservices/status]
        scope: "*"
      - apiGroups: [rbac.authorization.k8s.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: [clusterroles, clusterrolebindings, rolebindings]
        scope: "*"
      - apiGroups: [""]
        apiVersions: ["*"]
        operations: [UPDATE, DELETE]
        resources: [namespaces, namespaces/finalize]
        scope: "*"
      - apiGroups: [""]
        apiVersions: ["*"]
        operations: [CONNECT]
        resources: [nodes/proxy]
        scope: "*"
      - apiGroups: [tidegate.io]
        apiVersions: ["*"]
        operations: [UPDATE, DELETE]
        resources: [deploypolicies, gates, metricsources]
        scope: "*"
  matchConditions: []
  variables:
    {{- include "tidegate.guardVariables" . | nindent 4 }}
    - name: kind
      expression: request.resource.resource
    # Whose rights would be the manager's, or those of who the guards let through.
    - name: protected
      expression: >-
        ["tidegate-manager", {{ include "tidegate.identity" . | quote }}, "system:apiserver"] + {{ include "tidegate.programs" . }} + {{ include "tidegate.builtinAccounts" . }} +
        {{ include "tidegate.celList" .Values.guard.admins.users }} + {{ include "tidegate.celList" .Values.guard.admins.groups }} +
        {{ include "tidegate.builtinUsers" . }}
    # A role without rules has null there.
    - name: rules
      expression: "object != null && variables.kind == 'clusterroles' && has(object.rules) && object.rules != null ? object.rules : []"
    - name: oldRules
      expression: "oldObject != null && variables.kind == 'clusterroles' && has(oldObject.rules) && oldObject.rules != null ? oldObject.rules : []"
    # A rule that lets somebody act as, or get a token of, a protected identity. Who runs on a
    # node may be let act as that node.
    - name: grants
      expression: >-
        variables.rules.exists(r, !(r in variables.oldRules) && has(r.verbs) && has(r.resources) &&
        (!has(r.resourceNames) || r.resourceNames.size() == 0 || r.resourceNames.exists(n, n in variables.protected)) &&
        ((r.verbs.exists(v, v == "*" || v.startsWith("impersonate")) && r.resources.exists(x, x in ["*", "users", "groups", "serviceaccounts", "uids"] || x.startsWith("userextras")) &&
        has(r.apiGroups) && r.apiGroups.exists(g, g in ["*", "", "authentication.k8s.io"])) ||
        (r.verbs.exists(v, v == "impersonate:arbitrary-node") && r.resources.exists(x, x in ["*", "nodes"])) ||
        (r.verbs.exists(v, v in ["*", "create"]) && r.resources.exists(x, x in ["*", "*/token", "serviceaccounts/token"]) && has(r.apiGroups) && r.apiGroups.exists(g, g in ["*", ""]))))
    - name: roleRef
      expression: "object != null && has(object.roleRef) ? object.roleRef.name : ''"
    # With a kind, or a version that is served, go all of its objects, and a conversion
    # rewrites each, without one of them being asked about. Of the kinds of others it is those
    # that Gates govern.
    - name: routes
      expression: >-
        [".autoscaling.k8s.io", ".gateway.networking.k8s.io", ".networking.istio.io", ".projectcontour.io", ".split.smi-spec.io", ".traefik.io"].exists(g, variables.name.endsWith(g)) &&
        variables.sub == "" && (request.operation == "DELETE" || object.spec.conversion != oldObject.spec.conversion ||
        !oldObject.spec.versions.all(o, !o.served || object.spec.versions.exists(v, v.name == o.name && v.served)))
    # What the API server registers for itself, such as v1.apps.
    - name: automatic
      expression: >-
        [object, oldObject].exists(o, o != null && has(o.metadata.labels) && "kube-aggregator.kubernetes.io/automanaged" in o.metadata.labels)
    # A mutating webhook that is shown Tidegate's own kinds writes what people asked for over
    # again. One that stands may have its authority renewed.
    - name: rewrites
      expression: >-
        variables.kind == "mutatingwebhookconfigurations" && object != null && has(object.webhooks) && object.webhooks.exists(w, has(w.rules) &&
        w.rules.exists(r, r.apiGroups.exists(g, g == "tidegate.io") || (r.apiGroups.exists(g, g == "*") && r.resources.exists(x, x.split("/")[0] in
        ["*", "breakglasscommands", "breakglasses", "deploypolicies", "gates", "metricsources", "releases", "releasetemplates", "rolloutcommands", "rollouts", "templatecommands", "templaterevisions"]))) &&
        !(oldObject != null && has(oldObject.webhooks) && oldObject.webhooks.exists(o, o.name == w.name && o.rules == w.rules &&
        (has(o.clientConfig.url) ? o.clientConfig.url : "") == (has(w.clientConfig.url) ? w.clientConfig.url : "") &&
        has(o.clientConfig.service) == has(w.clientConfig.service) && (!has(o.clientConfig.service) || o.clientConfig.service == w.clientConfig.service))))
    # Nothing else is here what Tidegate rests on.
    - name: matters
      expression: >-
        variables.kind == "validatingwebhookconfigurations" ? variables.name in ["tidegate", "tidegate-gates", "tidegate-gatekeeper"] :
        variables.kind == "mutatingwebhookconfigurations" ? variables.rewrites :
        variables.kind == "customresourcedefinitions" ? variables.name.endsWith(".tidegate.io") || variables.routes :
        variables.kind == "apiservices" ? variables.name.endsWith(".tidegate.io") || variables.automatic :
        variables.kind == "clusterroles" ? variables.name in ["tidegate-manager", "tidegate-view", "tidegate-catalog-view", "tidegate-edit", "tidegate-approve", "tidegate-promote", "tidegate-template-operate", "tidegate-bypass", "tidegate-bypass-approve", "tidegate-platform", "tidegate-gatekeeper"] || variables.grants :
        variables.kind in ["clusterrolebindings", "rolebindings"] ? variables.name in ["tidegate-manager", "tidegate-gatekeeper"] || variables.roleRef in ["tidegate-manager", "tidegate-gatekeeper"] :
        variables.kind == "namespaces" ? variables.name == {{ .Release.Namespace | quote }} && (request.operation == "DELETE" || variables.sub == "finalize" ||
        (has(object.metadata.labels) ? object.metadata.labels : {}) != (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {})) :
        variables.kind == "nodes" ? !(object != null && has(object.path) && object.path in ["metrics", "metrics/cadvisor", "metrics/probes", "metrics/resource", "stats/summary", "healthz", "configz", "/metrics", "/metrics/cadvisor", "/metrics/probes", "/metrics/resource", "/stats/summary", "/healthz", "/configz"]) :
        variables.kind in ["deploypolicies", "gates", "metricsources"] ? request.operation == "DELETE" || object.spec != oldObject.spec : true
    # tidegate-gates is the manager's alone: it makes it of the Gates. The API server registers
    # what it serves, keeps the kinds' status, and brings the built-in roles up to date.
    - name: may
      expression: >-
        variables.kind == "validatingwebhookconfigurations" && variables.name == "tidegate-gates" ? variables.user == {{ include "tidegate.identity" . | quote }} :
        variables.trusted ||
        (variables.kind == "namespaces" && variables.sub == "finalize" && variables.user == "system:serviceaccount:kube-system:namespace-controller") ||
        (variables.kind == "clusterroles" && variables.name != "tidegate-manager" && variables.user == "system:serviceaccount:kube-system:clusterrole-aggregation-controller") ||
        (variables.user == "system:apiserver" && (variables.kind in ["apiservices", "customresourcedefinitions"] || (variables.kind == "clusterroles" && !variables.name.startsWith("tidegate-")))) ||
        (variables.person && variables.kind in ["deploypolicies", "gates", "metricsources"] && (variables.user in {{ include "tidegate.celList" .Values.guard.platform.users }} ||
        variables.groups.exists(g, g in {{ include "tidegate.celList" .Values.guard.platform.groups }})))
    # What the manager writes passes the mutating policies of others first. Whoever writes,
    # ring 2 leaves nobody and nothing out, and is asked where it is.
    - name: ring
      expression: >-
        variables.kind == "validatingwebhookconfigurations" && variables.name == "tidegate-gates" && object != null && has(object.webhooks) ? object.webhooks : []
    - name: shape
      expression: >-
        variables.ring.all(w, w.failurePolicy == "Fail" && w.matchPolicy == "Equivalent" &&
        (!has(w.objectSelector) || (!has(w.objectSelector.matchLabels) && !has(w.objectSelector.matchExpressions))) &&
        has(w.namespaceSelector) && !has(w.namespaceSelector.matchLabels) && has(w.namespaceSelector.matchExpressions) && w.namespaceSelector.matchExpressions.size() == 1 &&
        w.namespaceSelector.matchExpressions[0].key == "kubernetes.io/metadata.name" && w.namespaceSelector.matchExpressions[0].operator == "In" &&
        has(w.rules) && w.rules.size() > 0 && w.rules.all(r, ["CREATE", "UPDATE", "DELETE", "CONNECT"].all(o, o in r.operations) && r.apiVersions == ["*"]) &&
        (w.name != "kinds.gates.tidegate.io" || {{ include "tidegate.ringTwo" . }}.all(k, w.rules.exists(r, k[0] in r.apiGroups && k[1] in r.resources))) &&
        (!has(w.matchConditions) || w.matchConditions.all(c,
        (w.name == "labelled.gates.tidegate.io" && c.name == "labelled" && c.expression == {{ include "tidegate.labelledCondition" . | trim | quote }}) ||
        (w.name.endsWith(".glass.gates.tidegate.io") && c.name == "not-let-in-by-name" && c.expression.startsWith("!(request.userInfo.username in [")))) &&
        {{- if .Values.webhook.url }}
        has(w.clientConfig.url) && w.clientConfig.url == {{ printf "%s/gate" (trimSuffix "/" .Values.webhook.url) | quote }})
        {{- else }}
        has(w.clientConfig.service) && w.clientConfig.service.name == "tidegate-webhook" && w.clientConfig.service.namespace == {{ .Release.Namespace | quote }} && w.clientConfig.service.path == "/gate")
        {{- end }}
    # The manager writes nothing of its other configurations but their authority.
    - name: refilled
      expression: >-
        variables.kind != "validatingwebhookconfigurations" || variables.name == "tidegate-gates" || variables.user != {{ include "tidegate.identity" . | quote }} || object == null || oldObject == null ||
        (object.webhooks.size() == oldObject.webhooks.size() && object.webhooks.all(w, oldObject.webhooks.exists(o, o.name == w.name && o.rules == w.rules &&
        o.failurePolicy == w.failurePolicy && o.matchPolicy == w.matchPolicy && o.namespaceSelector == w.namespaceSelector && o.objectSelector == w.objectSelector &&
        (has(o.matchConditions) ? o.matchConditions : []) == (has(w.matchConditions) ? w.matchConditions : []) &&
        (has(o.clientConfig.url) ? o.clientConfig.url : "") == (has(w.clientConfig.url) ? w.clientConfig.url : "") && has(o.clientConfig.service) == has(w.clientConfig.service) &&
        (!has(o.clientConfig.service) || o.clientConfig.service == w.clientConfig.service))))
  validations:
    - expression: "!variables.matters || variables.may"
      message: "TG-GUARD: this is part of what keeps Tidegate's gate standing; ask one of the identities in guard.admins of the chart"
      messageExpression: {{ include "tidegate.guardMessage" . }}
      reason: Forbidden
    - expression: "variables.shape && variables.refilled"
      message: "TG-GUARD: wanted Tidegate's webhook to be asked about everything that it judges, found a webhook configuration that leaves something out; do: look for a mutating policy that changes it: kubectl get mutatingadmissionpolicies"
      reason: Forbidden
---
{{ include "tidegate.guardBinding" (dict "root" . "name" "tidegate-guard-cluster") }}
---
# Tidegate's own namespace: whoever makes a pod there, or a token, is the manager. Its pods
# are scheduled, evicted and replaced as those of any other namespace.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: tidegate-guard-home
  labels:
    {{- include "tidegate.labels" . | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    matchPolicy: Equivalent
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: [{{ .Release.Namespace }}]
    objectSelector: {}
    resourceRules:
      - apiGroups: [""]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE, CONNECT]
        resources: [configmaps, endpoints, pods, pods/attach, pods/binding, pods/ephemeralcontainers, pods/exec, pods/portforward, pods/proxy, pods/resize, pods/status, podtemplates, replicationcontrollers, replicationcontrollers/scale, secrets, serviceaccounts, serviceaccounts/token, services, services/proxy]
        scope: Namespaced
      - apiGroups: [apps]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: [daemonsets, deployments, deployments/scale, replicasets, replicasets/scale, statefulsets, statefulsets/scale]
        scope: Namespaced
      - apiGroups: [autoscaling]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE]
        resources: [horizontalpodautoscalers]
        scope: Namespaced
      - apiGroups: [batch]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE]
        resources: [cronjobs, jobs]
        scope: Namespaced
      - apiGroups: [coordination.k8s.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: [leases]
        scope: Namespaced
      - apiGroups: [discovery.k8s.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: [endpointslices]
        scope: Namespaced
      - apiGroups: [networking.k8s.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: [networkpolicies]
        scope: Namespaced
      - apiGroups: [rbac.authorization.k8s.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: [rolebindings, roles]
        scope: Namespaced
      - apiGroups: [tidegate.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE]
        resources: [releases, rollouts]
        scope: Namespaced
  matchConditions: []
  variables:
    {{- include "tidegate.guardVariables" . | nindent 4 }}
    - name: secretType
      expression: >-
        oldObject != null && request.resource.resource == "secrets" && has(oldObject.type) ? string(oldObject.type) :
        object != null && request.resource.resource == "secrets" && has(object.type) ? string(object.type) : ""
    - name: templates
      expression: >-
        [object, oldObject].filter(o, o != null && has(o.metadata)).map(o,
        request.resource.resource == "pods" ? o :
        request.resource.resource == "cronjobs" ? o.spec.jobTemplate.spec.template :
        request.resource.resource == "podtemplates" ? o.template :
        variables.sub == "" && request.resource.resource in ["daemonsets", "deployments", "jobs", "replicasets", "replicationcontrollers", "statefulsets"] && has(o.spec.template) ? o.spec.template : o)
    # What runs as the manager, or answers in its place because the Service chooses it.
    - name: managers
      expression: >-
        variables.name == "tidegate-manager" || variables.name.startsWith("tidegate-manager-") || variables.templates.exists(t,
        (has(t.spec) && has(t.spec.serviceAccountName) && t.spec.serviceAccountName == "tidegate-manager") ||
        (has(t.metadata) && has(t.metadata.labels) && "app.kubernetes.io/component" in t.metadata.labels && t.metadata.labels["app.kubernetes.io/component"] == "manager" &&
        "app.kubernetes.io/name" in t.metadata.labels && t.metadata.labels["app.kubernetes.io/name"] == "tidegate"))
    # What a Release asks for, the manager writes: here it could be a pod with its own account.
    # Credentials of MetricSources, and other objects of people's own, are left to RBAC.
    - name: matters
      expression: >-
        variables.what == "secrets" ? variables.name == "tidegate-webhook-cert" || variables.secretType == "helm.sh/release.v1" ||
        (variables.secretType == "kubernetes.io/service-account-token" && [object, oldObject].exists(o, o != null && has(o.metadata.annotations) &&
        "kubernetes.io/service-account.name" in o.metadata.annotations && o.metadata.annotations["kubernetes.io/service-account.name"] == "tidegate-manager")) :
        variables.what == "configmaps" ? variables.name in ["tidegate-notifications", "tidegate-standing"] :
        variables.what in ["leases", "serviceaccounts", "serviceaccounts/token"] ? variables.name == "tidegate-manager" :
        variables.what in ["endpoints", "services", "services/proxy"] ? variables.name == "tidegate-webhook" :
        variables.what == "endpointslices" ? [object, oldObject].exists(o, o != null && has(o.metadata.labels) &&
        "kubernetes.io/service-name" in o.metadata.labels && o.metadata.labels["kubernetes.io/service-name"] == "tidegate-webhook") :
        variables.what == "horizontalpodautoscalers" ? object.spec.scaleTargetRef.name == "tidegate-manager" :
        variables.what in ["networkpolicies", "releases", "rolebindings", "roles", "rollouts"] ? true : variables.managers
    # The status of a pod is its node's, and keeps the labels, by which a Service chooses.
    - name: labelsKept
      expression: >-
        variables.what != "pods/status" || (object != null && oldObject != null &&
        (has(object.metadata.labels) ? object.metadata.labels : {}) == (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}))
    # A node deletes the pods that are bound to it, and writes their status; the authorizer and
    # NodeRestriction see to which those are.
    - name: kubelet
      expression: >-
        variables.podToken || (variables.node && ((variables.what == "pods" && request.operation == "DELETE") || variables.what == "pods/status"))
    # Builtin controllers finish what administrators began: they make the pods of a
    # Deployment, and no pod but with a workload of an administrator's behind it. Of what is
    # no workload they clear away what is left over, and keep the tokens of accounts.
    - name: controller
      expression: >-
        variables.builtin && !(variables.what in ["serviceaccounts/token", "pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "pods/ephemeralcontainers"]) &&
        (!(variables.what in ["configmaps", "leases", "networkpolicies", "releases", "rolebindings", "roles", "rollouts", "secrets", "serviceaccounts"]) ||
        request.operation == "DELETE" || variables.user == "system:serviceaccount:kube-system:generic-garbage-collector" || variables.secretType == "kubernetes.io/service-account-token")
    # A pod as such, with the manager's account, is nobody's to make by hand.
    - name: byHand
      expression: variables.what == "pods" && request.operation == "CREATE" && has(object.spec.serviceAccountName) && object.spec.serviceAccountName == "tidegate-manager"
    # Nor is one with an image of somebody else's, who had it turned into the manager's on the
    # way, by a mutating policy; no policy is shown the writes of those. Any version will do:
    # when an upgrade is stuck, the pods of the one before must start again.
    - name: stranger
      expression: >-
        variables.what == "pods" && request.operation == "CREATE" && has(object.spec.serviceAccountName) && object.spec.serviceAccountName == "tidegate-manager" &&
        !(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])).all(c,
        c.image.startsWith({{ printf "%s:" .Values.manager.image.repository | quote }}) || c.image.startsWith({{ printf "%s@" .Values.manager.image.repository | quote }}) ||
        c.image in {{ include "tidegate.celList" .Values.guard.images }})
  validations:
    - expression: "!variables.matters || (variables.labelsKept && ((variables.trusted && !variables.byHand) || (variables.controller && !variables.stranger) || variables.kubelet))"
      message: "TG-GUARD: this is part of what keeps Tidegate's gate standing; ask one of the identities in guard.admins of the chart"
      messageExpression: {{ include "tidegate.guardMessage" . }}
      reason: Forbidden
---
{{ include "tidegate.guardBinding" (dict "root" . "name" "tidegate-guard-home") }}
---
{{ include "tidegate.guardsOfAccounts" . }}
{{- end }}
