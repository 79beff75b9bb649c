using System.CommandLine;
using FedLearn.Experiments.Alignment;
using FedLearn.Experiments.Costs;
using FedLearn.Experiments.HdpVfl;
using FedLearn.Experiments.OneRound;
using FedLearn.Experiments.Recommendation;
using FedLearn.Experiments.Speed;
using FedLearn.Experiments.Tables;
using FedLearn.Experiments.Wire;

// One line a verb. benchmarks/README.md says what each one measures and how long it takes.
var root = new RootCommand("Experiments of FedLearn: the figures that the documentation quotes.")
{
    AccuracyVerb.Create(),
    SearchVerb.Create(),
    OneRoundVerb.Create(),
    TablesVerb.Create(),
    GrpcSpeedVerb.Create(),
    NoiseSpeedVerb.Create(),
    WireVerb.Create(),
    WireParty.Create(),
    CsvLoadVerb.Create(),
    StartupVerb.Create(),
    GlmSpeedVerb.Create(),
    LargeDataVerb.Create(),
    LargeDataVerb.CreateRun(),
    RecommendationVerb.Create(),
    RecommendationSpeedVerb.Create(),
    DeviceVerb.Create(),
    AlignmentVerb.Create(),
    AlignmentParty.Create(),
    ScalingVerb.Create(),
    ScalingParty.Create(),
};
return await root.Parse(args).InvokeAsync().ConfigureAwait(false);
