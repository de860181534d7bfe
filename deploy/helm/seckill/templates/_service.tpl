{{/* The Service of what serves HTTP: {root, component, values}. */}}
{{- define "seckill.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "seckill.fullname" .root }}-{{ .component }}
  labels:
    {{- include "seckill.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  {{- with .values.service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .values.service.type }}
  selector:
    {{- include "seckill.selector" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  ports:
    - {name: http, port: {{ .values.service.port }}, targetPort: http}
{{- end -}}
