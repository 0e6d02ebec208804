"""A policy that knows just what the module in argv[1] names, but none of the words that follow: as an old one would.

For secilc, before the module: what of it does not stand in an optional block must still be understood.
"""
import re
import sys

text = re.sub(r";.*", "", open(sys.argv[1]).read())
unknown = set(sys.argv[2:])
rules = re.findall(r"\((?:allow|dontaudit) (\S+) (\S+) \((\w+) \(([^)]*)\)\)\)", text)
own = set(re.findall(r"\((?:type|typeattribute) (\S+)\)", text))
classes = {"file": set(), "dir": set(), "process": set()}
for _, _, name, perms in rules:
    classes.setdefault(name, set()).update(perms.split())
types = {"kernel_t", "init_t", "tmp_t", "tmpfs_t"}.union(*((a, b) for a, b, _, _ in rules)) - own - {"self"}
attributes = {name for name in types if not name.endswith("_t")} | {"domain", "file_type", "exec_type"}
print("(mls true) (handleunknown allow) (sid kernel) (sidorder (kernel))")
for name, perms in sorted(classes.items()):
    if name not in unknown:
        print(f"(class {name} ({' '.join(sorted(perms - unknown))}))")
print(f"(classorder ({' '.join(sorted(set(classes) - unknown))}))")
for name in sorted(types - attributes - unknown):
    print(f"(type {name})")
for name in sorted(attributes):
    print(f"(typeattribute {name})")
print("(role system_r) (role object_r) (user system_u) (userrole system_u system_r) (userrole system_u object_r)")
print("(sensitivity s0) (sensitivityorder (s0)) (userlevel system_u (s0)) (userrange system_u ((s0) (s0)))")
print("(roletype system_r kernel_t) (sidcontext kernel (system_u system_r kernel_t ((s0) (s0))))")
