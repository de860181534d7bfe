{{/* What a process finds in its environment: addresses and secrets. Each secret is a Secret that exists. */}}

{{/* An entry with a value from a Secret: {name, secret, key}. */}}
{{- define "seckill.fromSecret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{/*
{root, env}: the entries as a process finds them: with secretsAs=files a secret is a file, and its variable
names it.
*/}}
{{- define "seckill.entries" -}}
{{- $files := eq .root.Values.secretsAs "files" -}}
{{- range fromYamlArray .env }}
{{- if and $files .valueFrom (hasPrefix "SECKILL_" .name) }}
- name: {{ .name }}_FILE
  value: /etc/seckill/secrets/{{ .name }}
{{- else }}
{{ toYaml (list .) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* {root, env}: the volume of these files. */}}
{{- define "seckill.files" -}}
{{- if eq .root.Values.secretsAs "files" }}
- name: secrets
  projected:
    sources:
    {{- range fromYamlArray .env }}
    {{- if and .valueFrom (hasPrefix "SECKILL_" .name) }}
      - secret:
          name: {{ .valueFrom.secretKeyRef.name }}
          items: [{key: {{ .valueFrom.secretKeyRef.key | quote }}, path: {{ .name }}}]
    {{- end }}
    {{- end }}
{{- end }}
{{- end -}}

{{- define "seckill.env.redis" -}}
{{- $redis := .Values.redis -}}
{{- if $redis.host -}}
{{- $login := "" -}}
{{- if and $redis.existingSecret (eq .Values.secretsAs "files") -}}
{{- $login = ternary (printf "%s@" $redis.username) "" (not (empty $redis.username)) -}}
{{ include "seckill.fromSecret" (dict "name" "SECKILL_REDIS_PASSWORD" "secret" $redis.existingSecret "key" $redis.passwordKey) }}
{{ else if $redis.existingSecret -}}
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
{{- $files := eq .root.Values.secretsAs "files" }}
{{ include "seckill.fromSecret" (dict "name" (ternary "SECKILL_PG_PASSWORD" "POSTGRESQL_PASSWORD" $files) "secret" $secret "key" .role.passwordKey) }}
- name: SECKILL_PG_DSN
  value: {{ printf "postgresql://$(POSTGRESQL_USER)%s@%s:%v/%s%s" (ternary "" ":$(POSTGRESQL_PASSWORD)" $files) $pg.host $pg.port $pg.database (ternary (printf "?%s" $parameters) "" (not (empty $parameters))) | quote }}
{{- else -}}
{{ include "seckill.fromSecret" (dict "name" "SECKILL_PG_DSN" "secret" $secret "key" .role.uriKey) }}
{{- end -}}
{{- end -}}

{{/* {root, user}: user may have username, existingSecret, passwordKey, oauth and clientCertificate of its own. */}}
{{- define "seckill.env.kafka" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $user := merge (dict) (deepCopy (.user | default dict)) (deepCopy $kafka) -}}
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
{{- if eq $kafka.saslMechanism "OAUTHBEARER" }}
- name: SECKILL_OAUTH_TOKEN_URL
  value: {{ required "kafka.oauth.tokenUrl: saslMechanism is OAUTHBEARER" $user.oauth.tokenUrl | quote }}
- name: SECKILL_OAUTH_CLIENT_ID
  value: {{ required "kafka.oauth.clientId: saslMechanism is OAUTHBEARER" $user.oauth.clientId | quote }}
{{- with $user.oauth.scope }}
- name: SECKILL_OAUTH_SCOPE
  value: {{ . | quote }}
{{- end }}
{{ include "seckill.fromSecret" (dict "name" "SECKILL_OAUTH_CLIENT_SECRET" "secret" (required "kafka.oauth.existingSecret: saslMechanism is OAUTHBEARER" $user.oauth.existingSecret) "key" $user.oauth.clientSecretKey) }}
{{- else }}
- name: SECKILL_SASL_USERNAME
  value: {{ required "kafka.username: securityProtocol has SASL" $user.username | quote }}
{{ include "seckill.fromSecret" (dict "name" "SECKILL_SASL_PASSWORD" "secret" (required "kafka.existingSecret: securityProtocol has SASL" $user.existingSecret) "key" $user.passwordKey) }}
{{- end }}
{{- end }}
{{- with $user.clientCertificate }}
{{- if .existingSecret }}
- name: SECKILL_SSL_CERTFILE
  value: /etc/seckill/client/tls.crt
- name: SECKILL_SSL_KEYFILE
  value: /etc/seckill/client/tls.key
{{- if .passwordKey }}
{{ include "seckill.fromSecret" (dict "name" "SECKILL_SSL_KEY_PASSWORD" "secret" .existingSecret "key" .passwordKey) }}
{{- end }}
{{- end }}
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

{{/* The Redis of each lane that has one of its own: every process knows all lanes. */}}
{{- define "seckill.env.lanes" -}}
{{- range .Values.lanes }}
{{- if (.redis | default dict).existingSecret }}
{{ include "seckill.fromSecret" (dict "name" (printf "SECKILL_LANE_%s_REDIS_URL" (.name | upper | replace "-" "_")) "secret" .redis.existingSecret "key" (.redis.urlKey | default "url")) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "seckill.env.metrics" -}}
- name: SECKILL_METRICS_HOST
  value: 0.0.0.0
- name: SECKILL_METRICS_PORT
  value: {{ .Values.metrics.port | quote }}
- name: SECKILL_CONNECT_TIMEOUT
  value: {{ .Values.connectTimeoutSeconds | quote }}
{{- end -}}
