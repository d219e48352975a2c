{{/* Names, labels, and what is refused. */}}

{{- define "fogline.name" -}}
{{- if contains "fogline" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-fogline{{ end }}
{{- end }}

{{/* Labels of everything. */}}
{{- define "fogline.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "fogline.selector" . }}
{{- end }}

{{/* What never changes about a release: selectors hold it. */}}
{{- define "fogline.selector" -}}
app.kubernetes.io/name: fogline
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/*
A text that somebody must have given. Refused: nothing, and what people leave in templates.
  include "fogline.given" (dict "value" .Values.secrets.services "key" "secrets.services" "what" "…")
*/}}
{{- define "fogline.given" -}}
{{- $value := .value | toString | trim -}}
{{- if not $value -}}
  {{- fail (printf "%s is empty: give %s" .key .what) -}}
{{- end -}}
{{- if regexMatch "(?i)(^|[^a-z])(change.?(me|it)|placeholder|replace.?me|todo|fixme|dummy|your[-_]|xxx+)|^example$|[<>]|^\\.+$" $value -}}
  {{- fail (printf "%s is %q, a placeholder: give %s" .key $value .what) -}}
{{- end -}}
{{- $value -}}
{{- end }}

{{/* An image by digest: a tag can be moved, and then nobody knows what runs. */}}
{{- define "fogline.image" -}}
{{- $repository := include "fogline.given" (dict "value" .image.repository "key" (printf "%s.repository" .key) "what" "the image's repository") -}}
{{- $digest := include "fogline.given" (dict "value" .image.digest "key" (printf "%s.digest" .key) "what" .what) -}}
{{- if not (regexMatch "^sha256:[0-9a-f]{64}$" $digest) -}}
  {{- fail (printf "%s.digest is %q: give sha256: and 64 hexadecimal digits" .key $digest) -}}
{{- end -}}
{{- if lt (len (uniq (regexFindAll "[0-9a-f]" (trimPrefix "sha256:" $digest) -1))) 6 -}}
  {{- fail (printf "%s.digest is %q, a placeholder: give %s" .key $digest .what) -}}
{{- end -}}
{{- if contains "@" $repository -}}
  {{- fail (printf "%s.repository is %q: the digest has a key of its own" .key $repository) -}}
{{- end -}}
{{- printf "%s@%s" $repository $digest -}}
{{- end }}

{{- define "fogline.cloudImage" -}}
{{- include "fogline.image" (dict "image" .Values.image "key" "image" "what" "the digest that your registry shows for the image of deploy/cloud/Containerfile") -}}
{{- end }}

{{- define "fogline.brokerImage" -}}
{{- include "fogline.image" (dict "image" .Values.broker.image "key" "broker.image" "what" "the digest that the registry shows for the official image nats:2.15.1-alpine or later") -}}
{{- end }}

{{- define "fogline.servicesSecret" -}}
{{- include "fogline.given" (dict "value" .Values.secrets.services "key" "secrets.services" "what" "the Secret with cloud.toml, ca.pem, secrets.toml and metrics-token") -}}
{{- end }}

{{- define "fogline.nodesSecret" -}}
{{- include "fogline.given" (dict "value" .Values.secrets.brokerNodes "key" "secrets.brokerNodes" "what" "the name that the broker nodes' Secrets begin with") -}}
{{- end }}

{{- define "fogline.consoleSecret" -}}
{{- include "fogline.given" (dict "value" .Values.secrets.console "key" "secrets.console" "what" "the Secret with the console's tls.crt and tls.key") -}}
{{- end }}

{{/* Kinds of exposure are checked here, so that a typing error is not a service that is missing. */}}
{{- define "fogline.routeHost" -}}
{{- include "fogline.given" (dict "value" .host "key" .key "what" "the name that the route answers to") -}}
{{- end }}
