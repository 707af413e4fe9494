# SPDX-License-Identifier: Apache-2.0
# awk -f names.awk names.txt HEADER
# The header as Doxygen reads it: a member without a comment of its own gets the one that names.txt has for its name.
# Lines stay where they are.

# The name that a line declares, "" for none.
function declared(line, name) {
  name = line
  if (name ~ /operator\(\)/) return "operator()"
  if (name ~ /operator=[ (]/) return "operator="
  if (name ~ /operator\[\]/) return "operator[]"
  if (name ~ /explicit operator/) return "operator"
  if (name ~ /^ *using [A-Za-z_]+ = /) { sub(/^ *using /, "", name); sub(/ .*/, "", name); return name }
  if (name ~ /^ *using .*::/) return "using"
  if (name ~ /^ *friend /) return ""
  if (name ~ /std::function</) { sub(/( = |\{|;).*/, "", name) } else { sub(/( = |[({;]).*/, "", name) }
  if (name !~ /[A-Za-z_>&*] +[A-Za-z_]|^ *(explicit )?[A-Z][A-Za-z0-9_]*$/) return ""
  sub(/,.*/, "", name)
  sub(/.*[^A-Za-z0-9_]/, "", name)
  return name
}

function explained(line, name, before) {
  name = declared(line)
  if (name == type || name == inner || (name == "operator=" && line ~ /default|delete/)) name = "constructor"
  if (name == "" || !(name in text) || line ~ /\/\/\//) return ""
  return "/** " text[name] " */ "
}

FNR == NR {
  if ($0 !~ /^#/ && match($0, / \| /)) text[substr($0, 1, RSTART - 1)] = substr($0, RSTART + 3)
  next
}

# What a comment says of shapes, errors and the like begins a line.
commented && match($0, /^ *\/\/\/ (Shapes|Units|Errors|Draws|Cost|Source): /) {
  sub(/\/\/\/ /, "/// <br>")
}

# A template's head is held back until the name is known.
{
  here = $0
  indent = match(here, /[^ ]/) - 1
  if (indent == 0 && here ~ /^(class|struct) /) {
    type = here
    sub(/^(class|struct) /, "", type)
    sub(/[^A-Za-z0-9_].*/, "", type)
  }
  member = type != "" && (indent == 2 || indent == 4 && nested) && here !~ /^ *(\/\/|[:}]|(return|if|for|throw|else|public|private|protected)[^A-Za-z_])/
  if (indent == 2) {
    nested = here ~ /^  (class|struct) .*\{$/
    inner = here
    sub(/^  (class|struct) /, "", inner)
    sub(/[^A-Za-z0-9_].*/, "", inner)
  }
  if (here ~ /^constexpr .* value_names\(/) member = 1
  if (here ~ /^}/) type = ""
  if (member && here ~ /^ *template <.*>$/ && held == "") {
    held = here
    next
  }
  note = member && !commented ? explained(here) : ""
  if (held != "") {
    if (note != "") sub(/template/, note "template", held); else if (member && !commented) note = ""
    print held
    held = ""
    print here
  } else {
    if (note != "") { body = here; sub(/^ */, "", body); print substr(here, 1, indent) note body } else print here
  }
  commented = here ~ /^ *\/\/\//
}
