# Evaluates a module without nixpkgs: the few functions of `lib` that ours use, defaults of options, one module's
# imports. Types are not checked. `given` is what a user sets, `machine` what other modules of the machine would.
{
  module,
  given ? { },
}:
let
  lib = rec {
    types = {
      nullOr = type: type;
      listOf = type: type;
      attrsOf = type: type;
      anything = "anything";
      bool = "bool";
      package = "package";
      path = "path";
      str = "str";
    };
    mkEnableOption = text: mkOption { default = false; description = text; };
    mkOption = option: option // { _type = "option"; };
    mkIf = condition: value: if condition then value else { };
    literalExpression = text: text;
    optionals = condition: list: if condition then list else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    concatStringsSep = builtins.concatStringsSep;
  };
  pkgs = {
    formats.toml = _: {
      type = "toml";
      generate = name: value: "/store/${name}";
    };
    bashInteractive = "/store/bash";
    bubblewrap = "/store/bubblewrap";
    callPackage = path: _: "/store/hyperhive";
    coreutils = "/store/coreutils";
    git = "/store/git";
    nixos-container = "/store/nixos-container";
    systemd = "/store/systemd";
    util-linux = "/store/util-linux";
    valkey = "/store/valkey";
  };
  isOption = value: builtins.isAttrs value && (value._type or "") == "option";
  defaults = builtins.mapAttrs (
    _: value: if isOption value then value.default or null else if builtins.isAttrs value then defaults value else value
  );
  merge =
    left: right:
    left
    // builtins.mapAttrs (
      name: value:
      if builtins.isAttrs value && builtins.isAttrs (left.${name} or null) then merge left.${name} value else value
    ) right;
  load = path: import path { inherit config lib pkgs; };
  top = load module;
  all = [ top ] ++ map load (top.imports or [ ]);
  options = builtins.foldl' merge { } (map (one: one.options or { }) all);
  config = merge (defaults options) given;
in
{
  inherit options;
  inherit (top) config;
}
