{{/*
A Deployment, and its PodDisruptionBudget. {root, name, component, lane, values, args, replicas, env, grace,
strategy, port, readiness, healthy}
  name       of the Deployment              component  its label
  env        entries of its own, as text    replicas   none: something else scales it
  port       it serves HTTP there           healthy    or `manage.py healthy` asks for this worker
*/}}
{{- define "seckill.workload" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $selector := printf "%s\napp.kubernetes.io/component: %s" (include "seckill.selector" $root) .component -}}
{{- if .lane -}}{{- $selector = printf "%s\nseckill/lane: %s" $selector .lane -}}{{- end -}}
{{- $probes := $root.Values.probes -}}
{{- $env := printf "%s%s" (.env | trim) (include "seckill.env.lanes" $root) -}}
{{- $pod := dict "root" $root "config" true "spread" $selector "env" $env -}}
{{- if hasKey $values "kafka" -}}{{- $_ := set $pod "kafka" $values.kafka -}}{{- end -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels:
    {{- include "seckill.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with .lane }}
    seckill/lane: {{ . }}
    {{- end }}
spec:
  {{- if .replicas }}
  replicas: {{ .replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  selector:
    matchLabels: {{- $selector | nindent 6 }}
  strategy: {{- toYaml .strategy | nindent 4 }}
  template:
    metadata:
      labels:
        {{- include "seckill.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
        {{- with .lane }}
        seckill/lane: {{ . }}
        {{- end }}
        seckill/metrics: "true"
        {{- with $root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/config: {{ include (print $root.Template.BasePath "/configmap.yaml") $root | sha256sum }}
        {{- with $root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "seckill.pod" $pod | nindent 6 }}
      # The pause container reaps what a killed process leaves, as an init would.
      shareProcessNamespace: true
      terminationGracePeriodSeconds: {{ .grace }}
      containers:
        - name: {{ .component }}
          image: {{ include "seckill.image" (dict "root" $root "values" $values) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: {{- toYaml (concat .args $values.extraArgs) | nindent 12 }}
          env:
            {{- include "seckill.env.common" $pod | nindent 12 }}
            {{- include "seckill.env.metrics" $root | nindent 12 }}
            {{- include "seckill.entries" $pod | trim | nindent 12 }}
            {{- range $name, $value := $values.extraEnv }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
          ports:
            - {name: metrics, containerPort: {{ $root.Values.metrics.port }}}
            {{- with .port }}
            - {name: http, containerPort: {{ . }}}
            {{- end }}
          {{- if .port }}
          startupProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 5
            failureThreshold: {{ div (add $root.Values.connectTimeoutSeconds 60) 5 }}
          readinessProbe:
            httpGet: {path: {{ .readiness }}, port: http}
            periodSeconds: 5
            timeoutSeconds: 5
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            {{- $probe := omit $probes "withinSeconds" }}
            {{- toYaml $probe | nindent 12 }}
          lifecycle:
            # Until proxies have heard that this pod goes, they send it callers.
            preStop: {exec: {command: [sleep, "5"]}}
          {{- else }}
          {{- $healthy := list "python" "manage.py" "healthy" .healthy "--within-s" ($probes.withinSeconds | toString) }}
          {{- if and .lane (ne .lane "main") }}{{ $healthy = concat $healthy (list "--lane" .lane) }}{{ end }}
          # It has no heartbeat until it has found its services.
          startupProbe:
            exec: {command: {{ toJson $healthy }}}
            periodSeconds: 10
            timeoutSeconds: {{ $probes.timeoutSeconds }}
            failureThreshold: {{ div (add $root.Values.connectTimeoutSeconds 60) 10 }}
          livenessProbe:
            exec: {command: {{ toJson $healthy }}}
            {{- toYaml (omit $probes "withinSeconds") | nindent 12 }}
          {{- end }}
          {{- include "seckill.container.rights" $root | nindent 10 }}
          resources: {{- toYaml (.resources | default $values.resources) | nindent 12 }}
          volumeMounts: {{- include "seckill.mounts" $pod | nindent 12 }}
{{- if $root.Values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- include "seckill.labels" $root | nindent 4 }}
spec:
  # Also where there is one pod: a node can be drained, and what waits is decided or stored a little later.
  maxUnavailable: 1
  selector:
    matchLabels: {{- $selector | nindent 6 }}
{{- end }}
{{- end -}}
