{{/* Names, labels, the image. */}}
{{- define "seckill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "seckill.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "seckill.selector" -}}
app.kubernetes.io/name: {{ include "seckill.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "seckill.labels" -}}
{{ include "seckill.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* {root, values}: values may have an imageTag of its own, for an upgrade in steps. */}}
{{- define "seckill.image" -}}
{{- $image := .root.Values.image -}}
{{- $own := (.values | default dict).imageTag -}}
{{- $repository := required "image.repository: where `docker build .` was pushed to" $image.repository -}}
{{- if $own -}}
{{- printf "%s:%s" $repository $own -}}
{{- else if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "seckill.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "seckill.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The name of a lane's Deployment: {root, name, lane}. The lane main has the plain name. */}}
{{- define "seckill.ofLane" -}}
{{- $plain := printf "%s-%s" (include "seckill.fullname" .root) .name -}}
{{- if eq .lane "main" }}{{ $plain }}{{ else }}{{ printf "%s-%s" $plain .lane }}{{ end -}}
{{- end -}}
