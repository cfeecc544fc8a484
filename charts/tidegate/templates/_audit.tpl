{{/*
What the audit lists besides what the manager reads anyway, and the reports that it keeps: rules
of the manager's ClusterRole.
*/}}
{{- define "tidegate.auditRules" -}}
# What the audit lists.
- apiGroups: [""]
  resources: [pods, podtemplates, replicationcontrollers, serviceaccounts]
  verbs: [get, list]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [autoscaling.k8s.io]
  resources: [verticalpodautoscalers]
  verbs: [list]
- apiGroups: [gateway.networking.k8s.io]
  resources: [grpcroutes, referencegrants, tcproutes, tlsroutes, udproutes]
  verbs: [list]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [list]
- apiGroups: [networking.istio.io]
  resources: [destinationrules, virtualservices]
  verbs: [list]
- apiGroups: [projectcontour.io]
  resources: [httpproxies]
  verbs: [list]
- apiGroups: [split.smi-spec.io]
  resources: [trafficsplits]
  verbs: [list]
- apiGroups: [traefik.io]
  resources: [ingressroutes, traefikservices]
  verbs: [list]
# The formats of reports; the first one that is served is used.
- apiGroups: [openreports.io]
  resources: [reports, clusterreports]
  verbs: [get, list, create, update, delete]
- apiGroups: [wgpolicyk8s.io]
  resources: [policyreports, clusterpolicyreports]
  verbs: [get, list, create, update, delete]
{{- with .Values.audit.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end }}
