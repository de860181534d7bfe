{{/* Pods: rights, files, where they stand. Every pod of the chart is made here. */}}

{{/* No root, nothing to write on but a small /tmp, no rights in the kernel. */}}
{{- define "seckill.container.rights" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* {root, config, hook}: which files it has. A hook migrates: it meets PostgreSQL alone. */}}
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
