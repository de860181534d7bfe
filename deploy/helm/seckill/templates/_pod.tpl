{{/* Pods: rights, files, where they stand. Every pod of the chart is made here. */}}

{{/* No root, nothing to write on but a small /tmp, no rights in the kernel. */}}
{{- define "seckill.container.rights" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/*
{root, config, hook, kafka, env}: which files it has. A hook migrates: it meets PostgreSQL alone.
  kafka   the user of Kafka, of whoever speaks to it      env   entries whose secrets may be files
*/}}
{{- define "seckill.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .config }}
- {name: config, mountPath: /etc/seckill/config, readOnly: true}
{{- end }}
{{- range $service := ternary (list "postgresql") (list "kafka" "redis" "postgresql") (not (empty .hook)) }}
{{- if (index $.root.Values $service).ca.existingSecret }}
- {name: {{ $service }}-ca, mountPath: /etc/seckill/{{ $service }}, readOnly: true}
{{- end }}
{{- end }}
{{- if (include "seckill.certificate" . | fromYaml).existingSecret }}
- {name: kafka-client, mountPath: /etc/seckill/client, readOnly: true}
{{- end }}
{{- if and .env (eq .root.Values.secretsAs "files") }}
- {name: secrets, mountPath: /etc/seckill/secrets, readOnly: true}
{{- end }}
{{- end -}}

{{/* {root, kafka}: the client certificate of a user of Kafka. */}}
{{- define "seckill.certificate" -}}
{{- $user := dict -}}
{{- if hasKey . "kafka" -}}
{{- $user = merge (dict) (deepCopy (.kafka | default dict)) (deepCopy .root.Values.kafka) -}}
{{- end -}}
{{- toYaml ($user.clientCertificate | default dict) -}}
{{- end -}}

{{- define "seckill.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- if .config }}
- name: config
  configMap: {name: {{ include "seckill.fullname" .root }}}
{{- end }}
{{- range $service := ternary (list "postgresql") (list "kafka" "redis" "postgresql") (not (empty .hook)) }}
{{- $ca := (index $.root.Values $service).ca }}
{{- if $ca.existingSecret }}
- name: {{ $service }}-ca
  secret:
    secretName: {{ $ca.existingSecret }}
    items: [{key: {{ $ca.key | quote }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- with include "seckill.certificate" . | fromYaml }}
{{- if .existingSecret }}
- name: kafka-client
  secret:
    secretName: {{ .existingSecret }}
    items: [{key: {{ .certificateKey | quote }}, path: tls.crt}, {key: {{ .keyKey | quote }}, path: tls.key}]
{{- end }}
{{- end }}
{{- with .env }}
{{- include "seckill.files" (dict "root" $.root "env" .) }}
{{- end }}
{{- end -}}

{{/* The pod's own fields, but containers: {root, config, hook, spread}. spread: labels of its kind. */}}
{{- define "seckill.pod" -}}
{{- $values := .root.Values -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ if .hook }}default{{ else }}{{ include "seckill.serviceAccount" .root }}{{ end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and .spread $values.topologySpread }}
topologySpreadConstraints:
{{- range $values.topologySpread }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- $.spread | nindent 8 }}
{{- end }}
{{- end }}
volumes: {{- include "seckill.volumes" . | nindent 2 }}
{{- end -}}
