# sh run NAME COMMAND...: the command under the variables of shop.env and NAME.env.
folder=$(dirname "$0")
set -a
. "$folder/shop.env"
. "$folder/$1.env"
set +a
shift
exec "$@"
