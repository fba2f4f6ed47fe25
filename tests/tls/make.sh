#!/usr/bin/env bash
# Makes the certificates beside it anew. They are for the tests alone: nobody trusts their authorities, and the keys are
# public. Valid from 2020 to 2120, so that neither a clock that is wrong nor the years break the tests.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
touch "$work/index"
# Strict verification (the default of Python 3.13) wants both.
identifiers='subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n'
from=20200101000000Z to=21200101000000Z

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }

# issue CERTIFICATE KEY SUBJECT ISSUER EXTENSIONS [FROM TO]: ISSUER is the name of a certificate and key in $work, or "self"
issue() {
  local signer=()
  printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nrand_serial=yes\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\n' \
    "$work/index" "$work" >"$work/conf"
  printf 'unique_subject=no\n[p]\ncommonName=supplied\n[req]\ndistinguished_name=n\n[n]\n[x]\n%b' "$5" >>"$work/conf"
  openssl req -new -config "$work/conf" -key "$2" -subj "$3" -out "$work/request"
  if [ "$4" = self ]; then signer=(-selfsign -keyfile "$2"); else signer=(-cert "$work/$4.pem" -keyfile "$work/$4.key"); fi
  openssl ca -batch -notext -config "$work/conf" -extensions x -startdate "${6-$from}" -enddate "${7-$to}" \
    "${signer[@]}" -in "$work/request" -out "$1" 2>/dev/null
}

authority() { # NAME SUBJECT ISSUER
  key "$work/$1.key"
  issue "$work/$1.pem" "$work/$1.key" "$2" "$3" \
    "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n$identifiers"
}

leaf() { # NAME SUBJECT ISSUER EXTENSIONS [FROM TO]
  key "$1.key"
  issue "$1.pem" "$1.key" "$2" "$3" "basicConstraints=CA:false\n$identifiers$4" "${@:5}"
}

authority ca '/CN=STTP test authority' self
authority branch '/CN=STTP test authority, branch' ca
authority stranger-ca '/CN=Somebody else' self

local_names='subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n'
leaf server '/CN=sttpd' ca "$local_names"
leaf chained '/CN=sttpd of the branch' branch "$local_names"
leaf elsewhere '/CN=elsewhere' ca 'subjectAltName=DNS:elsewhere.example\nextendedKeyUsage=serverAuth\n'
leaf expired '/CN=expired' ca "$local_names" 20200101000000Z 20210101000000Z
leaf future '/CN=future' ca "$local_names" 21190101000000Z 21200101000000Z
leaf alice '/CN=alice' ca 'subjectAltName=email:alice@example.org\nextendedKeyUsage=clientAuth\n'
leaf stranger '/CN=stranger' stranger-ca 'extendedKeyUsage=clientAuth\n'

cp -- "$work/ca.pem" "$work/stranger-ca.pem" .
cat "$work/branch.pem" >>chained.pem
openssl pkcs8 -topk8 -in server.key -out encrypted.key -passout pass:secret
