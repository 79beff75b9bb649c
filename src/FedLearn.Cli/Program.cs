using System.Text;
using FedLearn.Cli;

// Documents are UTF-8 wherever they go, whatever the locale.
Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
return await Tool.RunAsync(args, Console.Out, Console.Error).ConfigureAwait(false);
