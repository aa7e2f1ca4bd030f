"""Hostile and broken network files: assembled opcode by opcode, or a valid file with one thing changed."""

from __future__ import annotations

import copy
import io
import json
import pickle
import struct
import zipfile

import torch

from stylegan2ada.checkpoints import official_names as names
from stylegan2ada.checkpoints.official_read import Record, read_records
from stylegan2ada.checkpoints.official_write import _Encoder
from stylegan2ada.checkpoints.pickle_tensors import write_storage

# An assembler: every function gives the opcodes that leave one value on the stack.


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    return pickle.dumps(value, protocol=2)[2:-1]


def raw(value):
    return b"B" + struct.pack("<I", len(value)) + value


def named(module, attribute):
    return text(module) + text(attribute) + b"\x93"


def tuple_of(*parts):
    return b"(" + b"".join(parts) + b"t"


def dict_of(*pairs, start=b"}"):
    return start + b"(" + b"".join(text(key) + value for key, value in pairs) + b"u"


def call(function, *arguments):
    return function + tuple_of(*arguments) + b"R"


def whole(value, protocol=4):
    return b"\x80" + bytes([protocol]) + value + b"."


def beside_networks(value):
    """A file whose networks are absent and whose options are the value."""
    return whole(dict_of(("G", b"N"), ("D", b"N"), ("G_ema", b"N"), ("training_set_kwargs", value)))


NONE, RECONSTRUCT = b"N", named(*names.RECONSTRUCT)
OUTER = [
    ("type", text("class")),
    ("version", number(6)),
    ("module_src", text("")),
    ("class_name", text("Generator")),
]


def one_network(state, *, outer=OUTER):
    record = call(RECONSTRUCT, dict_of(*outer, ("state", state)))
    return whole(dict_of(("G", record), ("D", NONE), ("G_ema", NONE)))


def state_with(*, parameters=b"}", modules=b"}"):
    return dict_of(
        ("_parameters", parameters), ("_buffers", b"}"), ("_modules", modules),
        ("_init_args", b")"), ("_init_kwargs", b"}"),
    )  # fmt: skip


def tensor(*, storage=None, offset=0, size=(4,), stride=(1,)):
    storage = (
        call(named(*names.STORAGE), raw(write_storage(torch.arange(4.0)))) if storage is None else storage
    )
    shape = [tuple_of(*map(number, numbers)) for numbers in (size, stride)]
    hooks = call(named("collections", "OrderedDict"))
    return call(named(*names.TENSOR), storage, number(offset), *shape, b"\x89", hooks)


def network_with_tensor(value):
    return one_network(state_with(parameters=dict_of(("weight", value))))


def storage_file(third, fourth, tail):
    """torch's old layout: magic, version, facts, object, keys, elements."""
    head = [pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, third)]
    return b"".join([*head, fourth, pickle.dumps(["0"], protocol=2), tail])


FACTS = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}


def storage_id(*parts):
    return b"\x80\x02" + tuple_of(*parts) + b"Q."


def with_storage(data):
    return network_with_tensor(tensor(storage=call(named(*names.STORAGE), raw(data))))


FLOATS = storage_id(text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), number(4), NONE)


def opcode_attacks(canary):
    """Files that run a command in a trusting reader (the first group) or abuse the machine in other ways."""
    touch = f"touch {canary}"
    run = tuple_of(text(touch))
    code = f"__import__('os').system({touch!r})"
    fires = {
        "reduce os.system": beside_networks(named("os", "system") + run + b"R"),
        "reduce posix.system, old spelling": whole(b"cposix\nsystem\n" + run + b"R", protocol=2),
        "builtins.eval": beside_networks(call(named("builtins", "eval"), text(code))),
        "builtins.exec": beside_networks(call(named("builtins", "exec"), text(code))),
        "inst": b"(V" + touch.encode() + b"\nios\nsystem\n.",
        "obj": b"(" + b"cos\nsystem\n" + text(touch) + b"o.",
        "subprocess by reduce": beside_networks(call(named("subprocess", "getoutput"), text(touch))),
        "getattr of a module": beside_networks(
            call(call(named("builtins", "getattr"), call(named("importlib", "import_module"), text("os")),
                      text("system")), text(touch))
        ),
        "before an error": b"\x80\x04" + named("os", "system") + run + b"R" + b"\xff",
        "memoized name": whole(named("os", "system") + b"\x94" + b"h\x00" + run + b"R"),
        "dotted name into the interpreter": beside_networks(call(named("shutil", "os.system"), text(touch))),
    }  # fmt: skip
    popen = named("subprocess", "Popen")
    evil = b"\x80\x02" + b"cos\nsystem\n" + b"(" + text(touch) + b"tR."
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", evil)
        archive.writestr("archive/version", "3")
    quiet = {
        "newobj": beside_networks(popen + tuple_of(text(touch)) + b"\x81"),
        "newobj_ex": beside_networks(named(*names.EASY_DICT) + b")" + dict_of(("x", NONE)) + b"\x92"),
        "newobj_ex of a process": beside_networks(popen + b")" + dict_of(("args", text(touch))) + b"\x92"),
        "newobj of an allowed function": beside_networks(named(*names.TENSOR) + b")\x81"),
        "newobj with arguments": beside_networks(named(*names.TF_NETWORK) + tuple_of(number(1)) + b"\x81"),
        "reduce on a text": beside_networks(text("os.system") + run + b"R"),
        "reduce without a tuple": beside_networks(RECONSTRUCT + b"]R"),
        "build on a dict": beside_networks(b"}" + dict_of(("__class__", NONE)) + b"b"),
        "build on a record": one_network(state_with())[:-1] + b"}b.",
        "build on an EasyDict": beside_networks(call(named(*names.EASY_DICT)) + dict_of(("x", NONE)) + b"b"),
        "build on a global": beside_networks(RECONSTRUCT + dict_of(("__code__", NONE)) + b"b"),
        "ext1": b"\x80\x02\x82\x01.",
        "ext2": b"\x80\x02\x83\x01\x00.",
        "ext4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "persistent id as text": b"Psomewhere\n.",
        "persistent id": whole(text("somewhere") + b"Q"),
        "globals of the reconstructor": beside_networks(
            named("torch_utils.persistence", "_reconstruct_persistent_obj.__globals__")
        ),
        "globals of a tensor function": beside_networks(
            named("torch._utils", "_rebuild_tensor_v2.__globals__")
        ),
        "method of an allowed class": beside_networks(named("collections", "OrderedDict.fromkeys")),
        "module of an allowed class": beside_networks(named("dnnlib", "util.EasyDict")),
        "torch.load": beside_networks(call(named("torch", "load"), text("/etc/passwd"))),
        "torch.hub": beside_networks(call(named("torch.hub", "load"), text("x/y"), text("z"))),
        "numpy.load": beside_networks(call(named("numpy", "load"), text("/etc/passwd"))),
        "name that is a number": whole(number(1) + text("system") + b"\x93"),
        "embedded os.path": beside_networks(named("os.path", "join")),
        "storage with an evil pickle": with_storage(evil),
        "storage with an evil object": with_storage(storage_file(FACTS, evil, b"")),
        "storage as a zip with an evil pickle": with_storage(zipped.getvalue()),
        "storage that carries a module's source": with_storage(
            storage_file(
                FACTS, storage_id(text("module"), b"ctorch\nFloatStorage\n", text("x.py"), text(code)), b""
            )
        ),
        "storage of class torch.load": with_storage(
            storage_file(
                FACTS, storage_id(text("storage"), b"ctorch\nload\n", text("0"), text("cpu"), number(1)), b""
            )
        ),
        "codec that decompresses": beside_networks(call(named(*names.ENCODE), text("x" * 9), text("zlib"))),
        "decoding instead of encoding": beside_networks(
            call(named("_codecs", "decode"), text("x"), text("zlib"))
        ),
        "dup": whole(b"}2000"),
        "numpy object scalar": beside_networks(
            call(
                named("numpy.core.multiarray", "scalar"), call(named("numpy", "dtype"), text("O8")), raw(evil)
            )
        ),
    }
    return fires, quiet


def size_attacks():
    """Claims that would cost memory or time if they were believed."""
    huge = struct.pack("<Q", 2**40)
    laughs = b"]\x94" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e\x94" for i in range(60))
    tuples = b")\x94" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
    shared = state_with()
    itself = state_with(modules=dict_of(("a", b"h\x01")))
    many = (1,) * 10_000
    bomb = b"N\x94"  # 2 ** 40 modules, each two of the one before
    for i in range(40):
        pair = dict_of(("a", b"h" + bytes([i])), ("b", b"h" + bytes([i])))
        bomb += call(RECONSTRUCT, dict_of(*OUTER, ("state", state_with(modules=pair)))) + b"\x94"
    nest = shared
    for _ in range(200):
        nest = state_with(modules=dict_of(("a", call(RECONSTRUCT, dict_of(*OUTER, ("state", nest))))))
    kwargs = "training_set_kwargs"
    return {
        "text of a terabyte": b"\x80\x04\x8d" + huge + b"abc.",
        "bytes of a terabyte": b"\x80\x04\x8e" + huge + b"abc.",
        "bytearray of a terabyte": b"\x80\x05\x96" + huge + b"abc.",
        "frame of a terabyte": b"\x80\x04\x95" + huge + b"N.",
        "text of four gigabytes": b"\x80\x04X\xff\xff\xff\xffabc.",
        "bytes of four gigabytes": b"\x80\x04B\xff\xff\xff\xffabc.",
        "number of two gigabytes": b"\x80\x04\x8b\xff\xff\xff\x7fabc.",
        "number of negative length": b"\x80\x04\x8b\xff\xff\xff\xffabc.",
        "number of a million bits": beside_networks(b"\x8b" + struct.pack("<I", 131072) + b"\x01" * 131072),
        "number of a million digits": beside_networks(b"L" + b"9" * 1_000_000 + b"L\n"),
        "memo entry four billion": whole(b"}r\xff\xff\xff\xff"),
        "memo entry four billion by text": whole(b"}p4294967295\n"),
        "billion laughs": beside_networks(dict_of(("x", b"(" + laughs + b"l"))),
        "keys that take forever to hash": beside_networks(b"}(" + b"(" + tuples + b"t" + b"Nu"),
        "set of what takes forever to hash": beside_networks(b"\x8f((" + tuples + b"t\x90"),
        "lists nested a hundred thousand deep": beside_networks(b"(" * 100_000 + b"l" * 100_000),
        "tuples nested a hundred thousand deep": beside_networks(b")" + b"\x85" * 100_000),
        "more operations than any file": whole(b"(" + b"\x8f" * 800_000 + b"l"),
        "modules nested two hundred deep": one_network(nest),
        "modules that double forty times": whole(
            dict_of((kwargs, b"(" + bomb + b"l"), ("G", b"h" + bytes([40])), ("D", NONE), ("G_ema", NONE))
        ),
        "module inside itself": whole(
            dict_of(
                ("x", b"}\x94"),
                ("G", RECONSTRUCT + b"h\x00\x85R\x94"),
                ("y", dict_of(*OUTER, ("state", itself), start=b"h\x00")),
                ("D", NONE),
                ("G_ema", NONE),
            )
        ),
        "storage that claims a terabyte": with_storage(storage_file(FACTS, FLOATS, struct.pack("<q", 2**40))),
        "storage of negative size": with_storage(storage_file(FACTS, FLOATS, struct.pack("<q", -1))),
        "storage cut off": with_storage(write_storage(torch.arange(4.0))[:-3]),
        "storage of big-endian numbers": with_storage(
            storage_file({**FACTS, "little_endian": False}, FLOATS, struct.pack("<q", 4) + bytes(16))
        ),
        "tensor of a billion elements": network_with_tensor(tensor(size=(10**9,))),
        "tensor that repeats one element": network_with_tensor(tensor(size=(10**9,), stride=(0,))),
        "tensor with a far stride": network_with_tensor(tensor(size=(2,), stride=(10**6,))),
        "tensor with a negative stride": network_with_tensor(tensor(stride=(-1,))),
        "tensor with an offset outside": network_with_tensor(tensor(offset=4, size=(1,))),
        "tensor with a negative offset": network_with_tensor(tensor(offset=-1, size=(1,))),
        "tensor whose size overflows": network_with_tensor(tensor(size=(2**62, 2**62), stride=(1, 1))),
        "tensor of no size and huge sides": network_with_tensor(tensor(size=(0, 2**62), stride=(1, 1))),
        "tensor of ten thousand dimensions": network_with_tensor(tensor(size=many, stride=many)),
        "tensor without a storage": network_with_tensor(tensor(storage=text("x"))),
        "parameter that is a text": network_with_tensor(text("x")),
    }  # fmt: skip


def broken_streams():
    """No attack; what happens to files."""
    return {
        "empty": b"",
        "one byte": b"\x80",
        "a web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 381673535\n",
        "zeros": bytes(10_000),
        "only a stop": b"\x80\x04.",
        "takes from an empty stack": b"\x80\x04a.",
        "mark without a mark": b"\x80\x04t.",
        "mark left over": b"\x80\x04(N.",
        "values left over": b"\x80\x04NN.",
        "memo entry never stored": b"\x80\x04h\x07.",
        "key without value": whole(b"}(Nu"),
        "item of a number": whole(number(1) + b"(NNu"),
        "append to a tuple": whole(b")Na"),
        "add to a list": whole(b"](N\x90"),
        "unknown opcode": b"\x80\x04\xfe.",
        "text that is no UTF-8": b"\x80\x04X\x02\x00\x00\x00\xff\xff.",
        "goes on after its end": beside_networks(b"}") + b"x",
        "a list": whole(b"]"),
        "a text": whole(text("network")),
        "a number": whole(number(7)),
        "a dict without networks": whole(dict_of(("state_dict", b"}"))),
        "options that are a list": beside_networks(b"]"),
        "options that hold a network": beside_networks(dict_of(("x", call(RECONSTRUCT, b"}")))),
        "a torch zip": torch_zip(),
        "network that is a text": whole(dict_of(("G", text("x")), ("D", NONE), ("G_ema", NONE))),
        "record without fields": whole(dict_of(("G", RECONSTRUCT + b")R"), ("D", NONE), ("G_ema", NONE))),
        "record of a list": whole(dict_of(("G", call(RECONSTRUCT, b"]")), ("D", NONE), ("G_ema", NONE))),
        "state that is a list": one_network(b"]"),
        "state without parts": one_network(b"}"),
        "old version": one_network(state_with(), outer=[*OUTER[:1], ("version", number(5)), *OUTER[2:]]),
        "version that is a text": one_network(
            state_with(), outer=[*OUTER[:1], ("version", text("6")), *OUTER[2:]]
        ),
        "type that is no class": one_network(state_with(), outer=[("type", text("function")), *OUTER[1:]]),
        "class that does not exist": one_network(
            state_with(), outer=[*OUTER[:3], ("class_name", text("Styler"))]
        ),
        "class name that is a number": one_network(
            state_with(), outer=[*OUTER[:3], ("class_name", number(1))]
        ),
        "source that is a number": one_network(
            state_with(), outer=[*OUTER[:2], ("module_src", number(1)), *OUTER[3:]]
        ).replace(b"Generator", b"Generatox"),
        "TensorFlow tuple of two": whole(named(*names.TF_NETWORK) + b")\x81\x94h\x00\x86"),
        "TensorFlow networks without state": whole(named(*names.TF_NETWORK) + b")\x81\x94h\x00h\x00\x87"),
        "TensorFlow network of version 3": tf_file(version=3),
        "TensorFlow argument that is not known": tf_file(static_kwargs={"resolution": 8, "style_gun": 1}),
        "TensorFlow network without variables": tf_file(),
        "TensorFlow network of a huge size": tf_file(static_kwargs={"resolution": 2**40}),
        "TensorFlow variable that is a text": tf_file(variables=[("x", "y")]),
    }


def torch_zip():
    buffer = io.BytesIO()
    torch.save({"state_dict": {}}, buffer)
    return buffer.getvalue()


def tf_file(*, version=4, static_kwargs=None, variables=()):
    state = {
        "version": version,
        "static_kwargs": static_kwargs or {},
        "variables": list(variables),
        "components": {},
    }
    plain = pickle.dumps(state, protocol=2)[2:-1]
    return whole((named(*names.TF_NETWORK) + b")\x81" + plain + b"b") * 3 + b"\x87")


# A valid file with one thing changed.


def encode(content):
    file = io.BytesIO()
    encoder = _Encoder(file)
    encoder.writers[bytes] = lambda _, data: encoder._once(data, lambda: encoder._raw(raw(data)))  # shared
    encoder.writers[Record] = lambda path, record: encoder._call(path, names.RECONSTRUCT, (record.fields,))
    file.write(b"\x80\x04")
    encoder.put("", content)
    return file.getvalue() + b"."


def inside(record, path):
    for name in path.split("."):
        record = record.state["_modules"][name]
    return record


def changed_files(valid):
    """{name: (bytes, what the error must name)} of files that differ from a valid one in one place."""
    changes = {}
    original = read_records(valid)

    def change(name, says):
        def note(function):
            content = copy.deepcopy(original)
            function(content)
            changes[name] = (encode(content), says)

        return note

    def set_argument(key, value):
        return lambda content: content["G"].state["_init_kwargs"].update({key: value})

    def set_tensor(path, name, value, part="_parameters"):
        def apply(content):
            inside(content["G"], path).state[part][name] = value

        return apply

    change("missing tensor", "mapping.fc0.weight")(
        lambda content: inside(content["G"], "mapping.fc0").state["_parameters"].pop("weight")
    )
    change("missing module", "mapping.fc1")(
        lambda content: inside(content["G"], "mapping").state["_modules"].pop("fc1")
    )
    change("left-over tensor", "mapping.extra")(set_tensor("mapping", "extra", torch.zeros(3)))
    change("wrong size", "G.mapping.fc0.weight")(set_tensor("mapping.fc0", "weight", torch.zeros(3, 3)))
    change("whole numbers", "G.mapping.fc0.bias")(
        set_tensor("mapping.fc0", "bias", torch.zeros(6, dtype=torch.int64))
    )
    change("dotted tensor name", "'a.b'")(set_tensor("mapping", "a.b", torch.zeros(3)))
    change("unknown argument", "G.colour")(set_argument("colour", 1))
    change("unknown inner argument", "G.synthesis_kwargs.colour")(
        set_argument("synthesis_kwargs", {"colour": 1})
    )
    change("inner arguments as a list", "mapping_kwargs")(set_argument("mapping_kwargs", [1]))
    change("huge latent", "G.z_dim")(set_argument("z_dim", 2**62))
    change("large latent", "mapping.fc0.weight")(set_argument("z_dim", 2**24))
    change("huge resolution", "G.img_resolution")(set_argument("img_resolution", 2**40))
    change("odd resolution", "img_resolution=12")(set_argument("img_resolution", 12))
    change("endless layers", "num_layers")(set_argument("mapping_kwargs", {"num_layers": 10**9}))
    change("endless filter", "resample_filter")(
        set_argument("synthesis_kwargs", {"resample_filter": [1] * 90_000})
    )
    change("latent that is not a number", "z_dim")(set_argument("z_dim", float("nan")))
    change("latent that is a text", "G.z_dim")(set_argument("z_dim", "six"))
    change("latent below zero", "G.z_dim")(set_argument("z_dim", -1))
    change("latent that is a fraction", "G.z_dim")(set_argument("z_dim", 6.0))
    change("resolution of a million", "G.img_resolution")(set_argument("img_resolution", 2**20))
    change("a billion layers", "G.mapping_kwargs.num_layers")(
        set_argument("mapping_kwargs", {"num_layers": 1e9})
    )
    change("channels that are a text", "G.synthesis_kwargs.channel_base")(
        set_argument("synthesis_kwargs", {"channel_base": "64"})
    )
    change("channels in a list", "G.img_channels")(set_argument("img_channels", [3]))
    change("filter of texts", "G.synthesis_kwargs.resample_filter")(
        set_argument("synthesis_kwargs", {"resample_filter": ["1"]})
    )
    change("filter in three dimensions", "G.synthesis_kwargs.resample_filter")(
        set_argument("synthesis_kwargs", {"resample_filter": [[[1]]]})
    )
    change("endless bound", "G.synthesis_kwargs.conv_clamp")(
        set_argument("synthesis_kwargs", {"conv_clamp": float("inf")})
    )
    change("activation that is a number", "G.mapping_kwargs.activation")(
        set_argument("mapping_kwargs", {"activation": 1})
    )
    change("augmentation by a text", "augment_pipe.xflip")(
        lambda content: content["augment_pipe"].state["_init_kwargs"].update(xflip="1")
    )
    change("argument that is missing", "z_dim")(
        lambda content: content["G"].state["_init_kwargs"].pop("z_dim")
    )
    change("arguments as a list", "constructed")(lambda content: content["G"].state.update(_init_kwargs=[]))
    change("too many arguments", "arguments")(lambda content: content["G"].state.update(_init_args=(1,) * 99))
    change("generator as discriminator", "Generator")(lambda content: content.update(D=content["G"]))
    change("sub-module of another class", "ToRGBLayer")(
        lambda content: inside(content["G"], "mapping.fc0").fields.update(class_name="ToRGBLayer")
    )
    change("version inside", "version 7")(
        lambda content: inside(content["G"], "mapping.fc0").fields.update(version=7)
    )
    change("parameters as a list", "_parameters")(lambda content: content["G"].state.update(_parameters=[]))
    change("no entry G_ema", "G_ema")(lambda content: content.pop("G_ema"))
    change("card that is a text", "card")(lambda content: content.update(card="mine"))

    # One storage behind a hundred layers: each is small in the file and large once copied.
    content = copy.deepcopy(original)
    big = inside(content["G"], "mapping.fc0")
    layers = {f"fc{i}": big for i in range(100)}
    big.state["_parameters"]["weight"] = torch.zeros(700, 700)
    inside(content["G"], "mapping").state["_modules"].update(layers)
    changes["one storage a hundred times"] = (encode(content), "more work to read")
    return changes


def native_attacks(valid):
    """Broken safetensors files."""
    (size,) = struct.unpack("<Q", valid[:8])
    header, body = json.loads(valid[8 : 8 + size]), valid[8 + size :]

    def with_header(edit):
        changed = copy.deepcopy(header)
        edit(changed)
        return packed(json.dumps(changed).encode())

    def packed(text):
        return struct.pack("<Q", len(text)) + text + body

    def with_facts(edit):
        def apply(changed):
            facts = json.loads(changed["__metadata__"]["stylegan2ada"])
            edit(facts)
            changed["__metadata__"]["stylegan2ada"] = json.dumps(facts)

        return with_header(apply)

    arguments = "init_kwargs"
    return {
        "header of a terabyte": struct.pack("<Q", 2**40) + valid[8:],
        "header that is no JSON": struct.pack("<Q", size) + b'{"' + b"x" * (size - 2) + body,
        "header nested deep": packed(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
        "cut in the header": valid[:100],
        "cut in the tensors": valid[:-10],
        "no metadata": with_header(lambda h: h.pop("__metadata__")),
        "someone else's": with_header(lambda h: h.update(__metadata__={"format": "pt"})),
        "metadata that is no JSON": with_header(lambda h: h["__metadata__"].update(stylegan2ada="{")),
        "metadata nested deep": with_header(lambda h: h["__metadata__"].update(stylegan2ada="[" * 100_000)),
        "metadata that is a list": with_header(lambda h: h["__metadata__"].update(stylegan2ada="[]")),
        "newer version": with_facts(lambda f: f.update(format_version=2)),
        "unknown network": with_facts(lambda f: f["networks"].update(H=f["networks"]["G"])),
        "network without facts": with_facts(lambda f: f["networks"].update(G=1)),
        "network of class os.system": with_facts(lambda f: f["networks"]["G"].update({"class": "os.system"})),
        "network left out": with_facts(lambda f: f["networks"].pop("G")),
        "unknown native argument": with_facts(lambda f: f["networks"]["G"][arguments].update(colour=1)),
        "huge native latent": with_facts(lambda f: f["networks"]["G"][arguments].update(z_dim=2**62)),
        "native options as a text": with_facts(lambda f: f.update(training_set_kwargs="x")),
        "native tensor outside": with_header(lambda h: h["G/mapping.w_avg"].update(data_offsets=[0, 2**50])),
        "native tensor missing": with_header(lambda h: h.pop("G/mapping.w_avg")),
    }
