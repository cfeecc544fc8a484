{{/* Users of a list as CEL. */}}
{{- define "tidegate.celList" -}}
[{{ range $i, $u := . }}{{ if $i }}, {{ end }}{{ $u | toJson }}{{ end }}]
{{- end }}

{{/* The built-in controllers whose identity may write in governed namespaces. A test
compares it with the manager's own table. */}}
{{- define "tidegate.builtinAccounts" -}}
["cronjob-controller", "daemon-set-controller", "deployment-controller", "device-taint-eviction-controller", "disruption-controller", "endpoint-controller", "endpointslice-controller", "endpointslicemirroring-controller", "generic-garbage-collector", "horizontal-pod-autoscaler", "job-controller", "namespace-controller", "node-controller", "pod-garbage-collector", "replicaset-controller", "replication-controller", "resource-claim-controller", "service-controller", "statefulset-controller", "taint-eviction-controller", "ttl-after-finished-controller"]
{{- end }}

{{/* Their user names. */}}
{{- define "tidegate.builtinUsers" -}}
[{{ range $i, $a := include "tidegate.builtinAccounts" . | fromJsonArray }}{{ if $i }}, {{ end }}{{ printf "system:serviceaccount:kube-system:%s" $a | toJson }}{{ end }}]
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
- name: admin
  expression: >-
    variables.user in {{ include "tidegate.celList" .Values.guard.admins.users }} ||
    variables.groups.exists(g, g in {{ include "tidegate.celList" .Values.guard.admins.groups }})
# The API server's own loopback client, which registers what it serves.
- name: trusted
  expression: variables.admin || variables.user in [{{ include "tidegate.identity" . | quote }}, "system:apiserver"]
- name: builtin
  expression: >-
    variables.user in ["system:kube-scheduler", "system:kube-controller-manager", "system:cloud-controller-manager"] ||
    variables.user in {{ include "tidegate.builtinUsers" . }}
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
        resources: [validatingwebhookconfigurations]
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
        ["tidegate-manager", {{ include "tidegate.identity" . | quote }}] + {{ include "tidegate.builtinAccounts" . }} +
        {{ include "tidegate.celList" .Values.guard.admins.users }} + {{ include "tidegate.celList" .Values.guard.admins.groups }} +
        {{ include "tidegate.builtinUsers" . }}
    # A role without rules has null there.
    - name: rules
      expression: "object != null && variables.kind == 'clusterroles' && has(object.rules) && object.rules != null ? object.rules : []"
    - name: oldRules
      expression: "oldObject != null && variables.kind == 'clusterroles' && has(oldObject.rules) && oldObject.rules != null ? oldObject.rules : []"
    # A rule that lets somebody act as, or get a token of, a protected identity.
    - name: grants
      expression: >-
        variables.rules.exists(r, !(r in variables.oldRules) && has(r.verbs) && has(r.resources) &&
        (!has(r.resourceNames) || r.resourceNames.size() == 0 || r.resourceNames.exists(n, n in variables.protected)) &&
        ((r.verbs.exists(v, v == "*" || v.startsWith("impersonate")) && r.resources.exists(x, x in ["*", "users", "groups", "serviceaccounts", "uids"] || x.startsWith("userextras")) &&
        has(r.apiGroups) && r.apiGroups.exists(g, g in ["*", "", "authentication.k8s.io"])) ||
        (r.verbs.exists(v, v in ["*", "create"]) && r.resources.exists(x, x in ["*", "*/token", "serviceaccounts/token"]) && has(r.apiGroups) && r.apiGroups.exists(g, g in ["*", ""]))))
    - name: roleRef
      expression: "object != null && has(object.roleRef) ? object.roleRef.name : ''"
    # With a kind go all of its objects, and a conversion rewrites each, without one of them
    # being asked about. Of the kinds of others it is those that Gates govern.
    - name: routes
      expression: >-
        [".autoscaling.k8s.io", ".gateway.networking.k8s.io", ".networking.istio.io", ".projectcontour.io", ".split.smi-spec.io", ".traefik.io"].exists(g, variables.name.endsWith(g)) &&
        variables.sub == "" && (request.operation == "DELETE" || object.spec.conversion != oldObject.spec.conversion)
    # What the API server registers for itself, such as v1.apps.
    - name: automatic
      expression: >-
        [object, oldObject].exists(o, o != null && has(o.metadata.labels) && "kube-aggregator.kubernetes.io/automanaged" in o.metadata.labels)
    # Nothing else is here what Tidegate rests on.
    - name: matters
      expression: >-
        variables.kind == "validatingwebhookconfigurations" ? variables.name in ["tidegate", "tidegate-gates", "tidegate-gatekeeper"] :
        variables.kind == "customresourcedefinitions" ? variables.name.endsWith(".tidegate.io") || variables.routes :
        variables.kind == "apiservices" ? variables.name.endsWith(".tidegate.io") || variables.automatic :
        variables.kind == "clusterroles" ? variables.name in ["tidegate-manager", "tidegate-view", "tidegate-catalog-view", "tidegate-edit", "tidegate-approve", "tidegate-template-operate", "tidegate-bypass", "tidegate-bypass-approve", "tidegate-platform", "tidegate-gatekeeper"] || variables.grants :
        variables.kind in ["clusterrolebindings", "rolebindings"] ? variables.name in ["tidegate-manager", "tidegate-gatekeeper"] || variables.roleRef in ["tidegate-manager", "tidegate-gatekeeper"] :
        variables.kind == "namespaces" ? variables.name == {{ .Release.Namespace | quote }} && (request.operation == "DELETE" || variables.sub == "finalize" ||
        (has(object.metadata.labels) ? object.metadata.labels : {}) != (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {})) :
        variables.kind == "nodes" ? !(object != null && has(object.path) && object.path in ["metrics", "metrics/cadvisor", "metrics/probes", "metrics/resource", "stats/summary", "healthz", "configz", "/metrics", "/metrics/cadvisor", "/metrics/probes", "/metrics/resource", "/stats/summary", "/healthz", "/configz"]) :
        variables.kind in ["deploypolicies", "gates", "metricsources"] ? request.operation == "DELETE" || object.spec != oldObject.spec : true
    # tidegate-gates is the manager's alone: it makes it of the Gates.
    - name: may
      expression: >-
        variables.kind == "validatingwebhookconfigurations" && variables.name == "tidegate-gates" ? variables.user == {{ include "tidegate.identity" . | quote }} :
        variables.trusted ||
        (variables.kind == "namespaces" && variables.sub == "finalize" && variables.user == "system:serviceaccount:kube-system:namespace-controller") ||
        (variables.kind == "clusterroles" && variables.user == "system:serviceaccount:kube-system:clusterrole-aggregation-controller") ||
        (variables.kind in ["deploypolicies", "gates", "metricsources"] && (variables.user in {{ include "tidegate.celList" .Values.guard.platform.users }} ||
        variables.groups.exists(g, g in {{ include "tidegate.celList" .Values.guard.platform.groups }})))
  validations:
    - expression: "!variables.matters || variables.may"
      message: "TG-GUARD: this is part of what keeps Tidegate's gate standing; ask one of the identities in guard.admins of the chart"
      messageExpression: {{ include "tidegate.guardMessage" . }}
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
        resources: [configmaps, endpoints, pods, pods/attach, pods/binding, pods/ephemeralcontainers, pods/exec, pods/portforward, pods/proxy, pods/resize, podtemplates, replicationcontrollers, replicationcontrollers/scale, secrets, serviceaccounts, serviceaccounts/token, services, services/proxy]
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
        variables.what == "configmaps" ? variables.name == "tidegate-standing" :
        variables.what in ["leases", "serviceaccounts", "serviceaccounts/token"] ? variables.name == "tidegate-manager" :
        variables.what in ["endpoints", "services", "services/proxy"] ? variables.name == "tidegate-webhook" :
        variables.what == "endpointslices" ? [object, oldObject].exists(o, o != null && has(o.metadata.labels) &&
        "kubernetes.io/service-name" in o.metadata.labels && o.metadata.labels["kubernetes.io/service-name"] == "tidegate-webhook") :
        variables.what == "horizontalpodautoscalers" ? object.spec.scaleTargetRef.name == "tidegate-manager" :
        variables.what in ["networkpolicies", "releases", "rolebindings", "roles", "rollouts"] ? true : variables.managers
    # A node asks for the tokens of, and deletes, the pods that are bound to it; the
    # authorizer and NodeRestriction see to which those are.
    - name: node
      expression: >-
        variables.user.startsWith("system:node:") && "system:nodes" in variables.groups &&
        (variables.what == "serviceaccounts/token" || (variables.what == "pods" && request.operation == "DELETE"))
    # Builtin controllers finish what administrators began: they make the pods of a
    # Deployment, and no pod but with a workload of an administrator's behind it.
    - name: controller
      expression: variables.builtin && !(variables.what in ["serviceaccounts/token", "pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "pods/ephemeralcontainers"])
    - name: default
      expression: variables.what in ["configmaps", "serviceaccounts", "secrets"] && variables.user in ["system:serviceaccount:kube-system:service-account-controller", "system:serviceaccount:kube-system:root-ca-cert-publisher", "system:serviceaccount:kube-system:legacy-service-account-token-cleaner", "system:serviceaccount:kube-system:tokens-controller"]
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
    - expression: "!variables.matters || (variables.trusted && !variables.byHand) || (variables.controller && !variables.stranger) || variables.node || variables.default"
      message: "TG-GUARD: this is part of what keeps Tidegate's gate standing; ask one of the identities in guard.admins of the chart"
      messageExpression: {{ include "tidegate.guardMessage" . }}
      reason: Forbidden
---
{{ include "tidegate.guardBinding" (dict "root" . "name" "tidegate-guard-home") }}
---
# The built-in controllers' accounts: their tokens are identities that the gate lets write.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: tidegate-guard-controllers
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
          values: [kube-system]
    objectSelector: {}
    resourceRules:
      - apiGroups: [""]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE]
        resources: [pods, secrets, serviceaccounts/token]
        scope: Namespaced
      - apiGroups: [rbac.authorization.k8s.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE]
        resources: [rolebindings, roles]
        scope: Namespaced
  # What starts a cluster is left alone: nodes and the API server itself.
  matchConditions:
    - name: not-the-cluster
      expression: '!(request.userInfo.username.startsWith("system:node:") || request.userInfo.username in ["system:apiserver", "system:kube-scheduler"])'
  variables:
    {{- include "tidegate.guardVariables" . | nindent 4 }}
    - name: accounts
      expression: {{ include "tidegate.builtinAccounts" . | quote }}
    - name: rules
      expression: "variables.what == 'roles' && has(object.rules) && object.rules != null ? object.rules : []"
    - name: oldRules
      expression: "variables.what == 'roles' && oldObject != null && has(oldObject.rules) && oldObject.rules != null ? oldObject.rules : []"
    - name: matters
      expression: >-
        variables.what == "serviceaccounts/token" ? variables.name in variables.accounts :
        variables.what == "secrets" ? has(object.type) && object.type == "kubernetes.io/service-account-token" && has(object.metadata.annotations) &&
        "kubernetes.io/service-account.name" in object.metadata.annotations && object.metadata.annotations["kubernetes.io/service-account.name"] in variables.accounts :
        variables.what == "pods" ? request.operation == "CREATE" && has(object.spec.serviceAccountName) && object.spec.serviceAccountName in variables.accounts :
        variables.what == "roles" ? variables.rules.exists(r, !(r in variables.oldRules) && has(r.verbs) && has(r.resources) &&
        (!has(r.resourceNames) || r.resourceNames.size() == 0 || r.resourceNames.exists(n, n in variables.accounts)) &&
        ((r.verbs.exists(v, v == "*" || v.startsWith("impersonate")) && r.resources.exists(x, x in ["*", "serviceaccounts"])) ||
        (r.verbs.exists(v, v in ["*", "create"]) && r.resources.exists(x, x in ["*", "*/token", "serviceaccounts/token"])))) :
        variables.what == "rolebindings" ? object.roleRef.name in ["admin", "cluster-admin", "edit"] : false
    # The controller manager asks for the tokens of its own controllers.
    - name: issuer
      expression: variables.what in ["serviceaccounts/token", "secrets"] && variables.user in ["system:kube-controller-manager", "system:cloud-controller-manager", "system:serviceaccount:kube-system:tokens-controller"]
  validations:
    - expression: "!variables.matters || variables.trusted || variables.issuer"
      message: "TG-GUARD: this is part of what keeps Tidegate's gate standing; ask one of the identities in guard.admins of the chart"
      messageExpression: {{ include "tidegate.guardMessage" . }}
      reason: Forbidden
---
{{ include "tidegate.guardBinding" (dict "root" . "name" "tidegate-guard-controllers") }}
---
# Whoever merely says to be the manager or a built-in controller. The token of a
# ServiceAccount has an ID, which the API server adds to the user; who impersonates a
# ServiceAccount has none, unless RBAC gives them the right to claim one as well, and a
# certificate with the name of one has an ID of another sort.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: tidegate-guard-identity
  labels:
    {{- include "tidegate.labels" . | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    matchPolicy: Equivalent
    namespaceSelector: {}
    objectSelector: {}
    resourceRules:
      - apiGroups: ["*"]
        apiVersions: ["*"]
        operations: ["*"]
        resources: ["*/*"]
        scope: "*"
  matchConditions:
    - name: protected
      expression: 'request.userInfo.username.startsWith("system:serviceaccount:") && (request.userInfo.username == {{ include "tidegate.identity" . | quote }} || request.userInfo.username in {{ include "tidegate.builtinUsers" . }})'
  validations:
    - expression: 'has(request.userInfo.extra) && "authentication.kubernetes.io/credential-id" in request.userInfo.extra && request.userInfo.extra["authentication.kubernetes.io/credential-id"].exists(c, c.startsWith("JTI="))'
      message: "TG-GUARD: wanted the identity of Tidegate or of a built-in controller to come with its own token, found it claimed by impersonation; do: act as yourself"
      reason: Forbidden
---
{{ include "tidegate.guardBinding" (dict "root" . "name" "tidegate-guard-identity") }}
{{- end }}

{{- define "tidegate.author" -}}
# Who last changed what a Release asks for. What was stamped before stays where the spec does.
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata:
  name: tidegate-author
  labels:
    {{- include "tidegate.labels" . | nindent 4 }}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    matchPolicy: Equivalent
    namespaceSelector: {}
    objectSelector: {}
    resourceRules:
      - apiGroups: [tidegate.io]
        apiVersions: [v1alpha1]
        operations: [CREATE, UPDATE]
        scope: "*"
        resources: [releases]
  variables:
    - name: was
      expression: >-
        oldObject != null && has(oldObject.metadata.annotations) && "tidegate.io/author" in oldObject.metadata.annotations
          ? oldObject.metadata.annotations["tidegate.io/author"] : ""
    - name: author
      expression: >-
        oldObject == null || object.spec != oldObject.spec ? request.userInfo.username : variables.was
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          (has(object.metadata.annotations) ? [] : [JSONPatch{op: "add", path: "/metadata/annotations", value: {}}]) +
          [JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("tidegate.io/author"), value: variables.author}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: tidegate-author
  labels:
    {{- include "tidegate.labels" . | nindent 4 }}
spec:
  policyName: tidegate-author
{{- end }}
