{{- define "xks-preflight.name" -}}
{{- if contains "xks-preflight" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-xks-preflight{{ end }}
{{- end }}

{{- define "xks-preflight.selector" -}}
app.kubernetes.io/name: xks-preflight
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "xks-preflight.labels" -}}
{{ include "xks-preflight.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "xks-preflight.scheme" -}}
{{ if .Values.tls.secretName }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}

{{- define "xks-preflight.configuration" -}}
# Written by the chart; what follows [journal] is values.config.
[listen]
api = "0.0.0.0:8480"
kms = "0.0.0.0:8481"
{{- if .Values.tls.secretName }}
tls_certificate_file = "tls/tls.crt"
tls_key_file = "tls/tls.key"
{{- end }}
allow_insecure = {{ .Values.tls.allowInsecure }}

[journal]
path = "/var/lib/xks-preflight/journal.sqlite"
{{- with .Values.journal.sealingKey }}
sealing_key = { file = {{ printf "secrets/%s" . | quote }} }
{{- end }}
{{- with .Values.journal.postgres }}
{{- if .url }}
postgres_url = {{ .url | quote }}
{{- if .caKey }}
postgres_ca_file = {{ printf "secrets/%s" .caKey | quote }}
{{- end }}
{{- if .passwordKey }}
postgres_password = { file = {{ printf "secrets/%s" .passwordKey | quote }} }
{{- end }}
{{- end }}
{{- end }}

{{ .Values.config }}
{{- end }}

{{/* Whatever cannot work, all of it at once. */}}
{{- define "xks-preflight.validate" -}}
{{- $faults := list }}
{{- with .Values }}
{{- if and (gt (int .replicas) 1) (not .journal.postgres.url) }}
{{- $faults = append $faults "replicas: several need journal.postgres.url; one journal file has one daemon" }}
{{- end }}
{{- if and (not .tls.secretName) (not .tls.allowInsecure) }}
{{- $faults = append $faults "tls.secretName: name a Secret of type kubernetes.io/tls, or set tls.allowInsecure where a mesh does TLS" }}
{{- end }}
{{- if and (or .journal.sealingKey .journal.postgres.passwordKey .journal.postgres.caKey) (not .secretName) }}
{{- $faults = append $faults "secretName: journal.sealingKey, journal.postgres.passwordKey and caKey are keys of it" }}
{{- end }}
{{- if regexMatch "(?m)^\\s*\\[(listen|journal)[].]" .config }}
{{- $faults = append $faults "config: [listen] and [journal] are written by the chart; see tls, journal and kmsEndpoint" }}
{{- end }}
{{- if and (not .tls.allowInsecure) (not (regexMatch "(?m)^\\s*\\[\\[(tokens|client_certificates|oidc)\\]\\]" .config)) }}
{{- $faults = append $faults "config: without [[tokens]], [[client_certificates]] or [[oidc]] anyone in the cluster may ask it to change key stores, and it does not start: xks-preflight token new makes a token" }}
{{- end }}
{{- if and (or .prometheusRule.enabled .dashboard.enabled) (not .runbooks.url) }}
{{- $faults = append $faults "runbooks.url: where people reach the daemon, such as https://xks-preflight.example.com; alerts and dashboard link there" }}
{{- end }}
{{- if and .serviceMonitor.enabled (not .serviceMonitor.token.secretName) }}
{{- $faults = append $faults "serviceMonitor.token.secretName: whoever scrapes needs the token of a viewer" }}
{{- end }}
{{- end }}
{{- if $faults }}
{{- fail (printf "\n\nvalues that cannot work:\n  - %s\n" (join "\n  - " $faults)) }}
{{- end }}
{{- end }}
