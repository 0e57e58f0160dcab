{
  description = "A hive of coding agents on a machine you own";

  inputs.nixpkgs.url = "nixpkgs";

  outputs =
    { self, nixpkgs }:
    let
      forSystems = nixpkgs.lib.genAttrs [
        "aarch64-linux"
        "x86_64-linux"
      ];
      pkgsOf = system: nixpkgs.legacyPackages.${system};
      # What hatch_build.py fetches, where somebody has fetched it: `./hive up` does, or HIVE_FRONTEND_DIR names it.
      frontend = ./services/dashboard/hive_dashboard/static/vendor;
      hive = system: (pkgsOf system).callPackage ./nix/package.nix { inherit frontend; };
    in
    {
      nixosModules = {
        agent = ./nix/agent.nix;
        default = ./nix/module.nix;
      };
      packages = forSystems (
        system:
        {
          default = self.packages.${system}.agent;
          agent = (pkgsOf system).callPackage ./nix/package.nix { };
        }
        // nixpkgs.lib.optionalAttrs (builtins.pathExists frontend) { hive = hive system; }
      );
      checks = forSystems (
        system:
        nixpkgs.lib.optionalAttrs (builtins.pathExists frontend) {
          hive = (pkgsOf system).testers.runNixOSTest (
            import ./nix/tests/hive.nix {
              module = self.nixosModules.default;
              package = hive system;
            }
          );
        }
      );
    };
}
