using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;

// In this process, so that DOTNET_EnableAVX512=0 and the like in its environment hold for what is measured; benchmarks/README.md has the command lines.
BenchmarkSwitcher.FromAssembly(typeof(FedLearn.Kernels.PassBenchmarks).Assembly)
    .Run(args, DefaultConfig.Instance.AddJob(Job.ShortRun.WithToolchain(InProcessNoEmitToolchain.Instance)).WithArtifactsPath(Path.Combine("build", "kernels")));
