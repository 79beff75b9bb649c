using System.CommandLine;
using FedLearn.Cli.Commands;

return await new RootCommand("fedlearn") { TrainCommand.Create(), PartyCommand.Create(), PredictCommand.Create(), WorkerCommand.Create() }.Parse(args).InvokeAsync();
