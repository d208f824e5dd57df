#!/usr/bin/env bash
# Apache Kafka for the tests and for trying things out: one broker on 127.0.0.1, in KRaft mode, nothing installed.
#
#   scripts/kafka.sh fetch                      download it once (43 MB) and say where it is
#   scripts/kafka.sh run --dir DIR --port PORT  run a broker whose files are in DIR, until Ctrl-C
#
# PORT speaks plain, PORT+1 SASL (SCRAM and PLAIN) and PORT+2 SASL over TLS, with the certificate DIR/ca.pem; PORT+3
# is the controller's. The user is `moksori`, the password `sample-password`. With --with-parent it ends when its
# standard input does, and deletes DIR. Exit code 69: it cannot be had on this machine, and why.
set -euo pipefail

version=4.2.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moksori/kafka-$version
name=kafka
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
# Quick to start rather than quick after minutes: KAFKA_OPTS=-XX:TieredStopAtLevel=4 where throughput is measured.
jvm=("$java" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 ${KAFKA_OPTS:-}
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$cache/*")

need_java() {
    command -v "$java" >/dev/null || die "Java is missing; run scripts/setup.sh test" 69
    local major
    major=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    ((${major:-0} >= 17)) || die "Java ${major:-of no known version} is too old for Kafka, which wants 17" 69
}

complete() {
    (cd "$1" 2>/dev/null && sha256sum --check --status SHA256SUMS 2>/dev/null)
}

# Into a folder of its own, renamed when it is whole: two may fetch at once, and the first one stays.
fetch() {
    need_java
    if complete "$cache"; then
        return
    fi
    command -v mvn >/dev/null || die "Maven is missing, which fetches Kafka; run scripts/setup.sh test" 69
    mkdir -p "${cache%/*}"
    new=$(mktemp -d "$cache.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    cat >"$new/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId>
  <artifactId>fetch-kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
XML
    mvn -q -B -f "$new/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new" \
        >"$new/log.txt" 2>&1 ||
        die "Maven could not fetch Kafka $version: $(grep -m1 ERROR "$new/log.txt" || tail -n1 "$new/log.txt")" 69
    rm "$new/pom.xml" "$new/log.txt"
    (cd "$new" && sha256sum -- *.jar >SHA256SUMS)
    chmod 755 "$new"
    if ! mv -T "$new" "$cache" 2>/dev/null && ! complete "$cache"; then
        # What is there is broken.
        rm -rf "$cache"
        mv -T "$new" "$cache"
    fi
    complete "$cache" || die "$cache is not whole; remove it and try again"
}

# One line of a JAAS configuration.
login() {
    echo "org.apache.kafka.common.security.$1 required${2:+ $2};"
}

# Writes the broker's properties, formats its storage and makes it a certificate. Times are short where tests wait:
# for the leader after a kill, for a group to form, for a log to be compacted, for records to be deleted.
format() {
    local dir=$1 port=$2
    mkdir -p "$dir"
    cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 3))
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listeners=PLAIN://127.0.0.1:$port,SASL://127.0.0.1:$((port + 1)),TLS://127.0.0.1:$((port + 2)),CONTROLLER://127.0.0.1:$((port + 3))
listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SASL_SSL,CONTROLLER:PLAINTEXT
log.dirs=$dir/log

sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.sasl.scram-sha-512.sasl.jaas.config=$(login scram.ScramLoginModule)
listener.name.sasl.scram-sha-256.sasl.jaas.config=$(login scram.ScramLoginModule)
listener.name.sasl.plain.sasl.jaas.config=$(login plain.PlainLoginModule 'user_moksori="sample-password"')
listener.name.tls.scram-sha-512.sasl.jaas.config=$(login scram.ScramLoginModule)
listener.name.tls.scram-sha-256.sasl.jaas.config=$(login scram.ScramLoginModule)
listener.name.tls.plain.sasl.jaas.config=$(login plain.PlainLoginModule 'user_moksori="sample-password"')
ssl.keystore.type=PKCS12
ssl.keystore.location=$dir/key.p12
ssl.keystore.password=sample-password

auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200

log.initial.task.delay.ms=500
log.retention.check.interval.ms=500
log.segment.delete.delay.ms=500
log.cleaner.backoff.ms=200
log.cleaner.min.cleanable.ratio=0.01
log.cleaner.dedupe.buffer.size=8388608
PROPERTIES
    local keytool=${java%java}keytool
    local key=(-storetype PKCS12 -keystore "$dir/key.p12" -storepass sample-password -alias broker)
    "$keytool" -genkeypair "${key[@]}" -keyalg EC -validity 3650 -dname CN=127.0.0.1 \
        -ext san=ip:127.0.0.1,dns:localhost 2>/dev/null
    "$keytool" -exportcert -rfc "${key[@]}" >"$dir/ca.pem" 2>/dev/null
    local users=()
    for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
        users+=(--add-scram "$mechanism=[name=moksori,password=sample-password]")
    done
    "${jvm[@]}" kafka.tools.StorageTool format -c "$dir/server.properties" "${users[@]}" \
        "--cluster-id=$(head -c16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')" >"$dir/log.txt" 2>&1 ||
        die "formatting $dir failed: $(tail -n1 "$dir/log.txt")"
}

run() {
    options -- "$@"
    fetch
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    test -e "$dir/log/meta.properties" || format "$dir" "$port"
    serve "127.0.0.1:$port; with SASL 127.0.0.1:$((port + 1)), user moksori, password sample-password" \
        "${jvm[@]}" kafka.Kafka "$dir/server.properties"
}

fetch_or_run "$@"
