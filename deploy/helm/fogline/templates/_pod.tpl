{{/* What every pod has in common: who it runs as, how it is spread. */}}

{{/* Runs as any user, with nothing: OpenShift's restricted-v2 as well as the Pod Security Standard "restricted". */}}
{{- define "fogline.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.podSecurity.runAsUser }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
{{- end }}
{{- with .Values.podSecurity.fsGroup }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "fogline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Over hosts and over zones; pods of an older revision do not count while a new one rolls out. */}}
{{- define "fogline.spread" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- range $key, $when := dict "kubernetes.io/hostname" .root.Values.spread.hosts "topology.kubernetes.io/zone" .root.Values.spread.zones }}
- topologyKey: {{ $key }}
  maxSkew: 1
  whenUnsatisfiable: {{ $when }}
  nodeTaintsPolicy: Honor
  labelSelector:
    matchLabels:
      {{- include "fogline.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ $component }}
  {{- if $.revisions }}
  matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{- define "fogline.place" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The folder that `cloud.toml` lies in, as `fogline-cloud init` lays it out. The folder itself is memory
that may be written: the first user's one-time password is left there.
*/}}
{{- define "fogline.folderMounts" -}}
- { name: folder, mountPath: /run/fogline }
- { name: services, mountPath: /run/fogline/cloud.toml, subPath: cloud.toml, readOnly: true }
- { name: services, mountPath: /run/fogline/metrics-token, subPath: metrics-token, readOnly: true }
- { name: broker, mountPath: /run/fogline/broker, readOnly: true }
- { name: pki, mountPath: /run/fogline/pki, readOnly: true }
- { name: tmp, mountPath: /tmp }
{{- end }}

{{/* `pki` holds what the component may know: the console's key is the api's alone, the authority's the admin's. */}}
{{- define "fogline.folderVolumes" -}}
{{- $services := include "fogline.servicesSecret" .root -}}
- name: folder
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
- name: services
  secret:
    secretName: {{ $services }}
    defaultMode: 0440
    items:
      - { key: cloud.toml, path: cloud.toml }
      - { key: metrics-token, path: metrics-token }
- name: broker
  secret:
    secretName: {{ $services }}
    defaultMode: 0440
    items:
      - { key: secrets.toml, path: secrets.toml }
- name: pki
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ $services }}
          items:
            - { key: ca.pem, path: ca.pem }
      # The authority of the database's server, where it is not ours.
      - secret:
          name: {{ $services }}
          optional: true
          items:
            - { key: database-ca.pem, path: database-ca.pem }
      {{- if eq .component "api" }}
      - secret:
          name: {{ include "fogline.consoleSecret" .root }}
          items:
            - { key: tls.crt, path: api.pem }
            - { key: tls.key, path: api.key }
      {{- else if eq .component "admin" }}
      - secret:
          name: {{ include "fogline.given" (dict "value" .root.Values.admin.existingSecret "key" "admin.existingSecret" "what" "the Secret with the authority's ca.key") }}
          items:
            - { key: ca.key, path: ca.key }
      {{- end }}
{{- end }}
