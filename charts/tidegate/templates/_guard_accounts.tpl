{{/* The guards of the identities that the others trust. */}}
{{- define "tidegate.guardsOfAccounts" -}}
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
  matchConditions: []
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
        variables.what == "rolebindings" ? object.roleRef.name in ["admin", "cluster-admin", "edit", "system:aggregate-to-admin", "system:aggregate-to-edit"] : false
    # The controller manager asks for the tokens of its own controllers.
    - name: issuer
      expression: variables.what in ["serviceaccounts/token", "secrets"] && variables.user in ["system:kube-controller-manager", "system:cloud-controller-manager"]
  validations:
    - expression: "!variables.matters || variables.trusted || variables.issuer || variables.podToken"
      message: "TG-GUARD: this is part of what keeps Tidegate's gate standing; ask one of the identities in guard.admins of the chart"
      messageExpression: {{ include "tidegate.guardMessage" . }}
      reason: Forbidden
---
{{ include "tidegate.guardBinding" (dict "root" . "name" "tidegate-guard-controllers") }}
---
# Whoever merely says to be the manager, a built-in controller or a program of the control
# plane. The token of a ServiceAccount and a certificate have an ID, which the API server adds
# to the user; who impersonates them has none, unless RBAC gives them the right to claim one as
# well, and a certificate with the name of a ServiceAccount has an ID of another sort. The API
# server's own client has no ID, but a UID and system:masters, and who impersonates it has to
# claim both.
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
      expression: >-
        request.userInfo.username.startsWith("system:") && request.userInfo.username in
        [{{ include "tidegate.identity" . | quote }}, "system:apiserver"] + {{ include "tidegate.builtinUsers" . }}{{ if .Values.guard.credentials.controlPlane }} + {{ include "tidegate.programs" . }}{{ end }}
  variables:
    - name: id
      expression: 'has(request.userInfo.extra) && "authentication.kubernetes.io/credential-id" in request.userInfo.extra ? request.userInfo.extra["authentication.kubernetes.io/credential-id"] : []'
  validations:
    - expression: >-
        request.userInfo.username == "system:apiserver" ? has(request.userInfo.uid) && request.userInfo.uid != "" && has(request.userInfo.groups) && "system:masters" in request.userInfo.groups :
        request.userInfo.username.startsWith("system:serviceaccount:") ? variables.id.exists(c, c.startsWith("JTI=")) :
        variables.id.exists(c, c.startsWith("X509SHA256=") || c.startsWith("JTI="))
      message: "TG-GUARD: wanted the identity of Tidegate, of a built-in controller or of the control plane to come with its own token or certificate, found it claimed by impersonation; do: act as yourself; a control plane that logs in otherwise: guard.credentials of the chart"
      reason: Forbidden
---
{{ include "tidegate.guardBinding" (dict "root" . "name" "tidegate-guard-identity") }}
{{- end }}
