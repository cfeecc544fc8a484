{{/* Names are fixed: there is one Tidegate in a cluster, and its gates name these. */}}
{{- define "tidegate.identity" -}}
system:serviceaccount:{{ .Release.Namespace }}:tidegate-manager
{{- end }}

{{- define "tidegate.selector" -}}
app.kubernetes.io/name: tidegate
app.kubernetes.io/component: manager
{{- end }}

{{- define "tidegate.labels" -}}
app.kubernetes.io/name: tidegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "tidegate.image" -}}
{{- with .Values.manager.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What can be known to fail later fails here, with the way out. */}}
{{- define "tidegate.check" -}}
{{- if hasPrefix "kube-" .Release.Namespace -}}
{{- fail (printf "wanted a namespace of its own for Tidegate, found %s; install with --namespace tidegate-system --create-namespace" .Release.Namespace) -}}
{{- end -}}
{{- if and (not .Values.manager.enabled) (not .Values.webhook.url) -}}
{{- fail "manager.enabled is false and webhook.url is empty, so nothing would answer the webhook and every write of a Release would be refused; set webhook.url to where the manager listens, such as https://localhost:9443" -}}
{{- end -}}
{{- if .Values.webhook.url -}}
{{- $host := (urlParse .Values.webhook.url).host | splitList ":" | first -}}
{{- if or (regexMatch "^[0-9.]+$" $host) (contains "[" .Values.webhook.url) -}}
{{- fail (printf "webhook.url: wanted a host name, since the certificate carries names, found %s; use localhost for 127.0.0.1" .Values.webhook.url) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "(^|[hms])(([1-9][0-9]*([.][0-9]+)?|0[.][0-9]?[1-9][0-9]*)h|[1-9][0-9]*([.][0-9]+)?m|0[.]([2-9]|1[7-9])[0-9]*m|[1-9][0-9]+([.][0-9]+)?s)" .Values.audit.interval) -}}
{{- fail (printf "audit.interval: wanted at least 10s, so that the audit rests, found %s" .Values.audit.interval) -}}
{{- end -}}
{{- if .Values.webhook.record.enabled -}}
{{- if has (clean .Values.webhook.record.dir) (list "/" "/tmp" "/var" "/var/run" "/run" "/var/run/secrets" "/run/secrets") -}}
{{- fail (printf "webhook.record.dir: wanted a directory of its own, found %s, which the manager needs otherwise; set it to /var/run/tidegate-records or the like" .Values.webhook.record.dir) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Not empty when an object of Tidegate's own kinds is wanted. */}}
{{- define "tidegate.hasCatalog" -}}
{{- $templates := false -}}
{{- range .Values.templates }}{{ if .create }}{{ $templates = true }}{{ end }}{{ end -}}
{{- if or $templates .Values.metricSource.create .Values.gate.create .Values.policies.imageRegistries.create .Values.policies.freezeWindows.create .Values.policies.templatePins.create .Values.policies.library }}true{{ end -}}
{{- end }}

{{/* Objects of Tidegate's own kinds cannot be in the install that brings the kinds. */}}
{{- define "tidegate.catalogNeedsKinds" -}}
{{- if not (.Capabilities.APIVersions.Has "tidegate.io/v1alpha1") -}}
{{- fail "templates, metricSource, gate, policies: wanted the kinds of Tidegate in the cluster, found none; install the chart without these values, wait until the manager is ready, then turn them on with: helm upgrade --reuse-values (offline: helm template --api-versions tidegate.io/v1alpha1)" -}}
{{- end -}}
{{- end }}
