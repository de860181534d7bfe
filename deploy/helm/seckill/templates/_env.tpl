{{/* What a process finds in its environment: addresses and secrets. Each secret is a Secret that exists. */}}

{{/* An entry with a value from a Secret: {name, secret, key}. */}}
{{- define "seckill.fromSecret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{- define "seckill.env.redis" -}}
{{- $redis := .Values.redis -}}
{{- if $redis.host -}}
{{- $login := "" -}}
{{- if $redis.existingSecret -}}
{{- $login = printf "%s:$(REDIS_PASSWORD)@" $redis.username -}}
{{ include "seckill.fromSecret" (dict "name" "REDIS_PASSWORD" "secret" $redis.existingSecret "key" $redis.passwordKey) }}
{{ end -}}
- name: SECKILL_REDIS_URL
  value: {{ printf "%s://%s%s:%v/%v%s" (ternary "rediss" "redis" $redis.tls) $login $redis.host $redis.port $redis.database (ternary "?ssl_ca_certs=/etc/seckill/redis/ca.crt" "" (not (empty $redis.ca.existingSecret))) | quote }}
{{- else -}}
{{ include "seckill.fromSecret" (dict "name" "SECKILL_REDIS_URL" "secret" (required "redis.host, or redis.existingSecret with the whole address" $redis.existingSecret) "key" $redis.urlKey) }}
{{- end -}}
{{- end -}}

{{/* {root, role}: role is postgresql, or postgresql.owner. */}}
{{- define "seckill.env.postgresql" -}}
{{- $pg := .root.Values.postgresql -}}
{{- $secret := required .missing .role.existingSecret -}}
{{- if $pg.host -}}
{{- $ca := ternary "sslmode=verify-full&sslrootcert=/etc/seckill/postgresql/ca.crt" "" (not (empty $pg.ca.existingSecret)) -}}
{{- $parameters := compact (list $ca $pg.parameters) | join "&" -}}
{{ include "seckill.fromSecret" (dict "name" "POSTGRESQL_USER" "secret" $secret "key" .role.usernameKey) }}
{{ include "seckill.fromSecret" (dict "name" "POSTGRESQL_PASSWORD" "secret" $secret "key" .role.passwordKey) }}
- name: SECKILL_PG_DSN
  value: {{ printf "postgresql://$(POSTGRESQL_USER):$(POSTGRESQL_PASSWORD)@%s:%v/%s%s" $pg.host $pg.port $pg.database (ternary (printf "?%s" $parameters) "" (not (empty $parameters))) | quote }}
{{- else -}}
{{ include "seckill.fromSecret" (dict "name" "SECKILL_PG_DSN" "secret" $secret "key" .role.uriKey) }}
{{- end -}}
{{- end -}}

{{/* {root, user}: user may have username, existingSecret and passwordKey of its own. */}}
{{- define "seckill.env.kafka" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $user := merge (dict) (.user | default dict) $kafka -}}
- name: SECKILL_BROKERS
  value: {{ required "kafka.brokers: host:port with commas" $kafka.brokers | quote }}
- name: SECKILL_TOPIC
  value: {{ $kafka.topic | quote }}
- name: SECKILL_KAFKA_CLIENT
  value: {{ $kafka.client | quote }}
- name: SECKILL_SECURITY_PROTOCOL
  value: {{ $kafka.securityProtocol | quote }}
{{- if hasPrefix "SASL" $kafka.securityProtocol }}
- name: SECKILL_SASL_MECHANISM
  value: {{ required "kafka.saslMechanism: securityProtocol has SASL" $kafka.saslMechanism | quote }}
- name: SECKILL_SASL_USERNAME
  value: {{ required "kafka.username: securityProtocol has SASL" $user.username | quote }}
{{ include "seckill.fromSecret" (dict "name" "SECKILL_SASL_PASSWORD" "secret" (required "kafka.existingSecret: securityProtocol has SASL" $user.existingSecret) "key" $user.passwordKey) }}
{{- end }}
{{- if $kafka.ca.existingSecret }}
- name: SECKILL_SSL_CAFILE
  value: /etc/seckill/kafka/ca.crt
{{- end }}
{{- end -}}

{{/* What every process of ours has: {root, config}. A hook has no configuration file: it runs before there is one. */}}
{{- define "seckill.env.common" -}}
- name: SECKILL_CONFIG
  value: {{ ternary "/etc/seckill/config/config.yaml" "/dev/null" .config }}
- name: SECKILL_LOG_FORMAT
  value: {{ .root.Values.logFormat | quote }}
{{- end -}}

{{- define "seckill.env.metrics" -}}
- name: SECKILL_METRICS_HOST
  value: 0.0.0.0
- name: SECKILL_METRICS_PORT
  value: {{ .Values.metrics.port | quote }}
- name: SECKILL_CONNECT_TIMEOUT
  value: {{ .Values.connectTimeoutSeconds | quote }}
{{- end -}}
